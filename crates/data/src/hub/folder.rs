//! A folder on this machine that answers as a server would: what can be downloaded can also come from a disk, by the
//! same road, interrupted and gone on with alike.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::time::UNIX_EPOCH;

use ureq::Body;
use ureq::http::{Response, StatusCode};

use super::client::From;
use super::error::Fault;

/// What addresses of files begin with; the rest is the path as it is.
pub(super) const SCHEME: &str = "file://";

/// The answer to a request for the file at `path`.
pub(super) fn answer(path: &str, from: Option<&From>) -> Result<Response<Body>, Fault> {
    let fail = |error: io::Error| Fault::Final(format!("{path} cannot be read: {error}"));
    let built = |response: Result<Response<Body>, ureq::http::Error>| {
        response.map_err(|error| Fault::Final(format!("{path} cannot be read: {error}")))
    };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            let nothing = Response::builder().status(StatusCode::NOT_FOUND);
            return built(nothing.body(Body::builder().data("")));
        }
        Err(error) => return Err(fail(error)),
    };
    let metadata = file.metadata().map_err(fail)?;
    if !metadata.is_file() {
        return Err(Fault::Final(format!("{path} is not a file")));
    }
    let total = metadata.len();
    let changed = metadata.modified().map_err(fail)?;
    let changed = changed.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    // Its name changes when the file does, as far as a disk can say.
    let etag = format!("\"{total:x}-{changed:x}\"");
    let mut response = Response::builder().header("etag", &etag);
    let begin = from.filter(|from| from.byte < total && from.validator.is_none_or(|validator| validator == etag));
    let length = if let Some(from) = begin {
        file.seek(SeekFrom::Start(from.byte)).map_err(fail)?;
        let range = format!("bytes {}-{}/{total}", from.byte, total - 1);
        response = response
            .status(StatusCode::PARTIAL_CONTENT)
            .header("content-range", range);
        total - from.byte
    } else {
        total
    };
    let body = Body::builder().reader(file.take(length));
    built(response.header("content-length", length.to_string()).body(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_whole_or_from_a_byte_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "0123456789").unwrap();
        let path = path.to_str().unwrap();
        let text = |response: Response<Body>| response.into_body().read_to_string().unwrap();
        let whole = answer(path, None).unwrap();
        let etag = whole.headers()["etag"].to_str().unwrap().to_owned();
        assert_eq!((whole.status().as_u16(), text(whole).as_str()), (200, "0123456789"));
        let from = |byte, validator| Some(From { byte, validator });
        let rest = answer(path, from(7, Some(etag.as_str())).as_ref()).unwrap();
        assert_eq!(rest.headers()["content-range"], "bytes 7-9/10");
        assert_eq!((rest.status().as_u16(), text(rest).as_str()), (206, "789"));
        // Of another file, or past its end: all of it.
        for from in [from(7, Some("\"other\"")), from(11, None)] {
            assert_eq!(answer(path, from.as_ref()).unwrap().status().as_u16(), 200);
        }
        assert_eq!(answer(&format!("{path}/b"), None).unwrap().status().as_u16(), 404);
        assert!(answer(folder.path().to_str().unwrap(), None).is_err());
    }
}
