//! safetensors files, written and read one tensor at a time so that a big model is never twice in memory.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ferrochat_tensor::Tensor;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use super::error::CheckpointError;

/// A header has about a hundred bytes per tensor; more than this is not one.
const LARGEST_HEADER: u64 = 1 << 24;

/// What to write under a name.
pub(super) enum Source<'a> {
    Floats(&'a Tensor),
    Count(u64),
}

impl Source<'_> {
    fn dtype(&self) -> Dtype {
        match self {
            Source::Floats(_) => Dtype::F32,
            Source::Count(_) => Dtype::U64,
        }
    }

    fn shape(&self) -> Vec<usize> {
        match self {
            Source::Floats(tensor) => tensor.shape().dims().to_vec(),
            Source::Count(_) => vec![1],
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Source::Floats(tensor) => tensor.len() * 4,
            Source::Count(_) => 8,
        }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Source::Count(count) => out.write_all(&count.to_le_bytes()),
            Source::Floats(tensor) => {
                let mut bytes = Vec::with_capacity(1 << 16);
                for part in tensor.download().chunks(1 << 14) {
                    bytes.clear();
                    bytes.extend(part.iter().flat_map(|x| x.to_le_bytes()));
                    out.write_all(&bytes)?;
                }
                Ok(())
            }
        }
    }
}

/// Writes a safetensors file.
pub(super) fn write(mut entries: Vec<(String, Source)>, out: &mut dyn Write) -> io::Result<()> {
    // Wide elements first, so that every tensor is aligned.
    entries.sort_by_key(|(name, source)| (std::cmp::Reverse(source.dtype()), name.clone()));
    let mut end = 0;
    let infos = entries.iter().map(|(name, source)| {
        let start = end;
        end += source.bytes();
        let info = TensorInfo {
            dtype: source.dtype(),
            shape: source.shape(),
            data_offsets: (start, end),
        };
        (name.clone(), info)
    });
    let metadata = Metadata::new(None, infos.collect()).map_err(io::Error::other)?;
    let mut header = serde_json::to_vec(&metadata)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    for (_, source) in &entries {
        source.write(out)?;
    }
    Ok(())
}

/// A safetensors file whose header has been read and found consistent with the file's length.
pub(super) struct TensorFile {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    data: u64,
}

impl TensorFile {
    pub(super) fn open(path: &Path) -> Result<TensorFile, CheckpointError> {
        let read = |error| CheckpointError::reading(path)(error);
        let damaged = |reason: String| CheckpointError::damaged(path, reason);
        let mut file = File::open(path).map_err(read)?;
        let length = file.metadata().map_err(read)?.len();
        let mut word = [0; 8];
        file.read_exact(&mut word)
            .map_err(|_| damaged("it is too short for a safetensors file".to_owned()))?;
        let header = u64::from_le_bytes(word);
        if header > LARGEST_HEADER || header + 8 > length {
            return Err(damaged(format!("its header would have {header} bytes")));
        }
        let mut bytes = vec![0; header as usize];
        file.read_exact(&mut bytes).map_err(read)?;
        let metadata: Metadata =
            serde_json::from_slice(&bytes).map_err(|error| damaged(format!("its header is wrong ({error})")))?;
        let data = 8 + header;
        if Some(length) != data.checked_add(metadata.data_len() as u64) {
            return Err(damaged("its length is not what its header says".to_owned()));
        }
        Ok(TensorFile {
            path: path.to_owned(),
            file,
            metadata,
            data,
        })
    }

    /// The names of all tensors.
    pub(super) fn names(&self) -> Vec<String> {
        self.metadata.offset_keys()
    }

    /// Checks that a tensor of floats of this shape is there.
    pub(super) fn expect(&self, name: &str, shape: &[usize]) -> Result<(), CheckpointError> {
        let Some(info) = self.metadata.info(name) else {
            return Err(CheckpointError::foreign(&self.path, format!("it has no {name}")));
        };
        if info.shape != shape || info.dtype != Dtype::F32 {
            let reason = format!(
                "{name} is {:?} {:?} there and F32 {shape:?} here",
                info.dtype, info.shape
            );
            return Err(CheckpointError::foreign(&self.path, reason));
        }
        Ok(())
    }

    /// The elements of a tensor of floats.
    pub(super) fn floats(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, CheckpointError> {
        self.expect(name, shape)?;
        let bytes = self.bytes(name)?;
        let words = bytes.as_chunks::<4>().0;
        Ok(words.iter().map(|&word| f32::from_le_bytes(word)).collect())
    }

    /// A single count.
    pub(super) fn count(&mut self, name: &str) -> Result<u64, CheckpointError> {
        let is_count = |info: &TensorInfo| info.dtype == Dtype::U64 && info.shape == [1];
        if !self.metadata.info(name).is_some_and(is_count) {
            return Err(CheckpointError::foreign(&self.path, format!("it has no count {name}")));
        }
        let bytes = self.bytes(name)?;
        let word = bytes
            .first_chunk()
            .expect("a U64 tensor of one element has eight bytes");
        Ok(u64::from_le_bytes(*word))
    }

    fn bytes(&mut self, name: &str) -> Result<Vec<u8>, CheckpointError> {
        let info = self.metadata.info(name).expect("the caller has seen this tensor");
        let (start, end) = info.data_offsets;
        let mut bytes = vec![0; end - start];
        let read = self
            .file
            .seek(SeekFrom::Start(self.data + start as u64))
            .and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(CheckpointError::reading(&self.path))?;
        Ok(bytes)
    }
}
