//! Matrix products by cuBLASLt.
//!
//! Our matrices are row-major and cuBLASLt's column-major, so it is asked for the transposed product
//! `outᵀ = op(b)ᵀ·op(a)ᵀ`: its first operand is our second, and a matrix that we store as it is read is one that it
//! need not transpose.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys::{
    self, cublasComputeType_t, cublasLtMatmulAlgo_t, cublasLtMatmulDesc_t, cublasLtMatmulDescAttributes_t as Desc,
    cublasLtMatmulPreferenceAttributes_t as Preference, cublasLtMatrixLayout_t, cudaDataType,
};

use super::context::Context;
use super::{Cuda, fault};
use crate::backend::{Buffer, MatmulArgs, Weight};
use crate::device::TensorError;
use crate::dtype::DType;
use crate::memory::Memory;

/// What the products may use for partial sums, in bytes.
const WORKSPACE: usize = 32 << 20;

/// `CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE`: parts of a long sum are added up in float32. Otherwise cuBLASLt may round each
/// to the result's type, bf16.
const IN_FLOAT32: u32 = 2;

/// A product `out = alpha·op(a)·op(b) + beta·addend` of row-major matrices on the card.
#[derive(Clone, Copy)]
pub(super) struct Product {
    /// Rows of the result.
    pub(super) rows: usize,
    /// Columns of the result.
    pub(super) cols: usize,
    /// Inner dimension.
    pub(super) inner: usize,
    /// Address of `[rows, inner]`, or of `[inner, rows]` if transposed.
    pub(super) a: u64,
    /// `a` is stored transposed.
    pub(super) transpose_a: bool,
    /// Address of `[inner, cols]`, or of `[cols, inner]` if transposed.
    pub(super) b: u64,
    /// `b` is stored transposed.
    pub(super) transpose_b: bool,
    /// Element type of `a` and `b`.
    pub(super) input: DType,
    /// Address of the result.
    pub(super) out: u64,
    /// Element type of result and addend.
    pub(super) output: DType,
    /// Factor of the product.
    pub(super) alpha: f32,
    /// Address of the addend (may be the result itself) and its factor.
    pub(super) addend: Option<(u64, f32)>,
}

/// What an algorithm is chosen by: everything but the addresses, of which the alignment counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    sizes: [usize; 3],
    transposed: [bool; 2],
    types: [u8; 2],
    alignments: [u32; 4],
    has_addend: bool,
}

/// A product as cuBLASLt has it, ready to be repeated.
struct Planned {
    description: cublasLtMatmulDesc_t,
    first: cublasLtMatrixLayout_t,
    second: cublasLtMatrixLayout_t,
    result: cublasLtMatrixLayout_t,
    algorithm: cublasLtMatmulAlgo_t,
}

/// The library's handle, its workspace, and what it was asked for before.
pub(super) struct Blas {
    handle: sys::cublasLtHandle_t,
    workspace: Memory,
    planned: RefCell<HashMap<Key, Rc<Planned>>>,
    context: Rc<Context>,
}

impl Blas {
    pub(super) fn new(context: &Rc<Context>) -> Result<Blas, TensorError> {
        let workspace = context.allocate(WORKSPACE).ok_or(TensorError::OutOfMemory {
            bytes: WORKSPACE,
            live: 0,
        })?;
        let handle = result::create_handle()
            .map_err(|error| TensorError::Unsupported(format!("cuBLASLt does not start: {error}")))?;
        Ok(Blas {
            handle,
            workspace,
            planned: RefCell::default(),
            context: Rc::clone(context),
        })
    }

    /// Starts a product.
    fn run(&self, product: &Product) {
        if product.rows == 0 || product.cols == 0 {
            return;
        }
        let planned = self.plan(product);
        let (addend, beta) = product.addend.unwrap_or((product.out, 0.0));
        // SAFETY: the layouts describe the matrices at these addresses, which outlive the work: memory is given back
        // in stream order.
        let started = unsafe {
            result::matmul(
                self.handle,
                planned.description,
                (&raw const product.alpha).cast(),
                (&raw const beta).cast(),
                product.b as *const _,
                planned.first,
                product.a as *const _,
                planned.second,
                addend as *const _,
                planned.result,
                product.out as *mut _,
                planned.result,
                &raw const planned.algorithm,
                self.workspace.address as *mut _,
                WORKSPACE,
                self.context.stream().cast(),
            )
        };
        started.unwrap_or_else(|error| fault(&product.describe(), error));
    }

    fn plan(&self, product: &Product) -> Rc<Planned> {
        let key = product.key();
        if let Some(planned) = self.planned.borrow().get(&key) {
            return Rc::clone(planned);
        }
        let planned = make(self.handle, product, &key).unwrap_or_else(|error| fault(&product.describe(), error));
        let planned = Rc::new(planned);
        self.planned.borrow_mut().insert(key, Rc::clone(&planned));
        planned
    }
}

impl Drop for Blas {
    fn drop(&mut self) {
        // SAFETY: nothing is asked of the handle after this; at the end there is nobody to tell of an error.
        let _ = unsafe { result::destroy_handle(self.handle) };
        self.context.release(self.workspace);
    }
}

impl Drop for Planned {
    fn drop(&mut self) {
        // SAFETY: made in `make`, used by nobody else.
        unsafe {
            let _ = result::destroy_matmul_desc(self.description);
            for layout in [self.first, self.second, self.result] {
                let _ = result::destroy_matrix_layout(layout);
            }
        }
    }
}

impl Product {
    /// One of the products of a batch.
    pub(super) fn plain(args: &MatmulArgs, index: usize, a: Buffer, b: Buffer, out: Buffer) -> Product {
        let result = index * args.rows * args.cols;
        Product {
            rows: args.rows,
            cols: args.cols,
            inner: args.inner,
            a: a.at(index * args.rows * args.inner),
            transpose_a: args.transpose_a,
            b: b.at(index * args.inner * args.cols),
            transpose_b: args.transpose_b,
            input: a.dtype,
            out: out.at(result),
            output: out.dtype,
            alpha: args.alpha,
            addend: args.addend.map(|(addend, beta)| (addend.at(result), beta)),
        }
    }

    fn key(&self) -> Key {
        // What cuBLASLt takes for granted unless told otherwise.
        let alignment = |address: u64| (address | 256).trailing_zeros();
        let addend = self.addend.map_or(self.out, |(addend, _)| addend);
        Key {
            sizes: [self.rows, self.cols, self.inner],
            transposed: [self.transpose_a, self.transpose_b],
            types: [self.input as u8, self.output as u8],
            alignments: [self.b, self.a, addend, self.out].map(alignment),
            has_addend: self.addend.is_some(),
        }
    }

    fn describe(&self) -> String {
        let Product { rows, cols, inner, .. } = self;
        let types = [self.input.name(), self.output.name()].join(" to ");
        format!("cuBLASLt, {rows}×{inner} times {inner}×{cols}, {types}")
    }
}

fn data_type(dtype: DType) -> cudaDataType {
    match dtype {
        DType::F32 => cudaDataType::CUDA_R_32F,
        DType::Bf16 => cudaDataType::CUDA_R_16BF,
        other => unreachable!("products of {}", other.name()),
    }
}

/// A row-major matrix as a column-major one: columns first.
fn layout(dtype: DType, rows: usize, cols: usize) -> Result<cublasLtMatrixLayout_t, CublasError> {
    result::create_matrix_layout(data_type(dtype), cols as u64, rows as u64, cols as i64)
}

fn stored(transposed: bool, rows: usize, cols: usize) -> (usize, usize) {
    if transposed { (cols, rows) } else { (rows, cols) }
}

fn make(handle: sys::cublasLtHandle_t, product: &Product, key: &Key) -> Result<Planned, CublasError> {
    let description = result::create_matmul_desc(cublasComputeType_t::CUBLAS_COMPUTE_32F, cudaDataType::CUDA_R_32F)?;
    for (attribute, transposed) in [
        (Desc::CUBLASLT_MATMUL_DESC_TRANSA, product.transpose_b),
        (Desc::CUBLASLT_MATMUL_DESC_TRANSB, product.transpose_a),
    ] {
        // cublasOperation_t: 0 as it is, 1 transposed.
        let value = i32::from(transposed);
        // SAFETY: the attribute is one operation.
        unsafe {
            result::set_matmul_desc_attribute(description, attribute, (&raw const value).cast(), size_of_val(&value))?;
        }
    }
    let (b_rows, b_cols) = stored(product.transpose_b, product.inner, product.cols);
    let (a_rows, a_cols) = stored(product.transpose_a, product.rows, product.inner);
    let first = layout(product.input, b_rows, b_cols)?;
    let second = layout(product.input, a_rows, a_cols)?;
    let out = layout(product.output, product.rows, product.cols)?;

    let preference = result::create_matmul_pref()?;
    let alignments = [
        Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
        Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
        Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
    ];
    // SAFETY: the workspace's size is a size_t, schemes and alignments are uint32_t; all handles were made above.
    let heuristic = unsafe {
        let (workspace, bytes) = (Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, WORKSPACE);
        result::set_matmul_pref_attribute(preference, workspace, (&raw const bytes).cast(), size_of::<usize>())?;
        let (schemes, allowed) = (Preference::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, IN_FLOAT32);
        result::set_matmul_pref_attribute(preference, schemes, (&raw const allowed).cast(), size_of::<u32>())?;
        for (attribute, exponent) in alignments.into_iter().zip(key.alignments) {
            let bytes = 1u32 << exponent;
            result::set_matmul_pref_attribute(preference, attribute, (&raw const bytes).cast(), size_of::<u32>())?;
        }
        let found = result::get_matmul_algo_heuristic(handle, description, first, second, out, out, preference);
        result::destroy_matmul_pref(preference)?;
        found?
    };
    Ok(Planned {
        description,
        first,
        second,
        result: out,
        algorithm: heuristic.algo,
    })
}

impl Cuda {
    pub(super) fn product(&self, product: &Product) {
        self.blas.run(product);
    }

    /// `y = x·Wᵀ` from address to address; `rows` rows.
    pub(super) fn forward_product(&self, x: u64, weight: Weight, (y, output): (u64, DType), rows: usize) {
        self.product(&Product {
            rows,
            cols: weight.out_features,
            inner: weight.in_features,
            a: x,
            transpose_a: false,
            b: operand(weight),
            transpose_b: true,
            input: self.dtype,
            out: y,
            output,
            alpha: 1.0,
            addend: None,
        });
    }

    /// `dx = dy·W`, or added to it.
    pub(super) fn input_product(&self, dy: u64, weight: Weight, dx: u64, rows: usize, accumulate: bool) {
        self.product(&Product {
            rows,
            cols: weight.in_features,
            inner: weight.out_features,
            a: dy,
            transpose_a: false,
            b: operand(weight),
            transpose_b: false,
            input: self.dtype,
            out: dx,
            output: self.dtype,
            alpha: 1.0,
            addend: accumulate.then_some((dx, 1.0)),
        });
    }

    /// `dW = dyᵀ·x` in float32, or added to it; `dy` is `[rows, outputs]`, `x` `[rows, inputs]`.
    pub(super) fn weight_product(
        &self,
        (dy, outputs): (u64, usize),
        (x, inputs): (u64, usize),
        dweight: u64,
        rows: usize,
        accumulate: bool,
    ) {
        self.product(&Product {
            rows: outputs,
            cols: inputs,
            inner: rows,
            a: dy,
            transpose_a: true,
            b: x,
            transpose_b: false,
            input: self.dtype,
            out: dweight,
            output: DType::F32,
            alpha: 1.0,
            addend: accumulate.then_some((dweight, 1.0)),
        });
    }
}

/// The compute copy of a matrix, or its master where that is of the compute type.
fn operand(weight: Weight) -> u64 {
    weight.copy.unwrap_or(weight.master).address()
}
