//! Products against naive f64 sums; in `same_bits`, the promise about bits.

use half::bf16;

use super::blocking::k_block;
use super::scratch::Aligned;
use super::*;

mod same_bits;

/// Pseudo-random numbers in [-1, 1).
fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(next).collect()
}

fn round(x: &[f32]) -> Vec<bf16> {
    x.iter().map(|&x| bf16::from_f32(x)).collect()
}

fn widen(x: &[bf16]) -> Vec<f32> {
    x.iter().map(|&x| bf16::to_f32(x)).collect()
}

/// How a matrix lies in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    ByRows,
    ByColumns,
    /// Neither rows nor columns contiguous.
    Sparse,
}

/// The memory of a row-major matrix in another layout.
fn arrange(x: &[f32], rows: usize, cols: usize, layout: Layout) -> Vec<f32> {
    match layout {
        Layout::ByRows => x.to_vec(),
        Layout::ByColumns => (0..rows * cols).map(|i| x[i % rows * cols + i / rows]).collect(),
        Layout::Sparse => x.iter().flat_map(|&x| [x, f32::NAN]).collect(),
    }
}

fn view<T>(data: &[T], rows: usize, cols: usize, layout: Layout) -> View<'_, T> {
    match layout {
        Layout::ByRows => View::row_major(data, rows, cols),
        Layout::ByColumns => View::row_major(data, cols, rows).t(),
        Layout::Sparse => View::strided(data, rows, cols, 2 * cols, 2),
    }
}

/// The product in f64 and, for the tolerance, the product of the magnitudes.
fn naive(a: &[f32], b: &[f32], m: usize, n: usize, k: usize) -> Vec<(f64, f64)> {
    let mut c = vec![(0.0, 0.0); m * n];
    for i in 0..m {
        for l in 0..k {
            for j in 0..n {
                let term = f64::from(a[i * k + l]) * f64::from(b[l * n + j]);
                let (sum, size) = &mut c[i * n + j];
                *sum += term;
                *size += term.abs();
            }
        }
    }
    c
}

/// How far a computed element may lie from the exact one.
///
/// A chain of L additions loses at most L units of roundoff (2^-24) of the sum of the
/// magnitudes; a product that is not fused loses one more per term, hence the factor 2.
/// Chains are at most 768 elements, their sums are added up, then come alpha and C.
/// Storing as bf16 loses 2^-8 of the result. One term left out or taken twice
/// would be hundreds of times as large.
fn tolerance(k: usize, magnitudes: f64, result: f64, c_bf16: bool) -> f64 {
    let chain = (k.min(768) + k / 256 + 4) as f64;
    let stored = if c_bf16 { 2_f64.powi(-8) } else { 0.0 };
    2.0 * chain * 2_f64.powi(-24) * magnitudes + stored * result.abs()
}

/// One way to call [`matmul`].
#[derive(Clone, Copy, Debug)]
struct Case {
    isa: Isa,
    a_layout: Layout,
    b_layout: Layout,
    a_bf16: bool,
    b_bf16: bool,
    c_bf16: bool,
    packed: Option<Precision>,
    epilogue: Epilogue,
    /// What is added is this multiple of `c`, and C stands elsewhere.
    elsewhere: Option<f32>,
}

/// `A · B` as `case` says, on row-major A and B; C is widened to f32.
fn product(pool: &Pool, case: Case, (m, n, k): (usize, usize, usize), a: &[f32], b: &[f32], c: &[f32]) -> Vec<f32> {
    let a = arrange(a, m, k, case.a_layout);
    let b = arrange(b, k, n, case.b_layout);
    let (a16, b16) = (round(&a), round(&b));
    let a: MatrixRef = if case.a_bf16 {
        view(&a16, m, k, case.a_layout).into()
    } else {
        view(&a, m, k, case.a_layout).into()
    };
    let b: MatrixRef = if case.b_bf16 {
        view(&b16, k, n, case.b_layout).into()
    } else {
        view(&b, k, n, case.b_layout).into()
    };
    let precision = case.packed.unwrap_or(Precision::F32);
    let mut bytes = Aligned::<u32>::new(packed_len(k, n, precision, case.isa) / 4);
    // SAFETY: a u32 is four bytes.
    let bytes = unsafe { bytes.align_to_mut::<u8>().1 };
    let b = if case.packed.is_some() {
        pack_b(pool, case.isa, precision, b, bytes);
        Rhs::Packed(PackedB::new(bytes, k, n, precision, case.isa))
    } else {
        Rhs::Plain(b)
    };
    if case.c_bf16 {
        let (before, mut c) = (round(c), round(c));
        let mut view = ViewMut::row_major(&mut c, m, n);
        if let Some(factor) = case.elsewhere {
            view = view.adding(View::row_major(&before, m, n), factor);
        }
        matmul(pool, case.isa, a, b, view, case.epilogue);
        widen(&c)
    } else {
        let (before, mut c) = (c, c.to_vec());
        let mut view = ViewMut::row_major(&mut c, m, n);
        if let Some(factor) = case.elsewhere {
            view = view.adding(View::row_major(before, m, n), factor);
        }
        matmul(pool, case.isa, a, b, view, case.epilogue);
        c
    }
}

/// Checks all ways to call `matmul` for one shape, or every seventeenth.
fn check_shape(pool: &Pool, isa: Isa, shape: (usize, usize, usize), all: bool) {
    use Layout::{ByColumns, ByRows, Sparse};
    let (m, n, k) = shape;
    let (a, b, c) = (random(m * k, 1), random(k * n, 2), random(m * n, 3));
    let (a_rounded, b_rounded) = (widen(&round(&a)), widen(&round(&b)));
    let c_rounded = widen(&round(&c));
    let exact = [
        naive(&a, &b, m, n, k),
        naive(&a_rounded, &b_rounded, m, n, k),
        naive(&a, &b_rounded, m, n, k),
        naive(&a_rounded, &b, m, n, k),
    ];
    let mut number = 0;
    let epilogues = [
        (Epilogue::STORE, None),
        (Epilogue::ADD, None),
        (
            Epilogue {
                alpha: -0.75,
                accumulate: true,
            },
            None,
        ),
        (
            Epilogue {
                alpha: -0.75,
                accumulate: true,
            },
            Some(-22.5),
        ),
        (Epilogue::ADD, Some(1.0)),
    ];
    for (a_layout, b_layout) in [
        (ByRows, ByRows),
        (ByRows, ByColumns),
        (ByColumns, ByRows),
        (ByColumns, ByColumns),
        (Sparse, Sparse),
    ] {
        for flags in 0..8 {
            for packed in [None, Some(Precision::F32), Some(Precision::Bf16)] {
                for (epilogue, elsewhere) in epilogues {
                    number += 1;
                    if !all && number % 17 != m % 17 {
                        continue;
                    }
                    let case = Case {
                        isa,
                        a_layout,
                        b_layout,
                        a_bf16: flags & 1 != 0,
                        b_bf16: flags & 2 != 0,
                        c_bf16: flags & 4 != 0,
                        packed,
                        epilogue,
                        elsewhere,
                    };
                    let bf16_product = packed == Some(Precision::Bf16);
                    let exact = match (case.a_bf16 || bf16_product, case.b_bf16 || bf16_product) {
                        (false, false) => &exact[0],
                        (true, true) => &exact[1],
                        (false, true) => &exact[2],
                        (true, false) => &exact[3],
                    };
                    let found = product(pool, case, shape, &a, &b, &c);
                    let before = if case.c_bf16 { &c_rounded } else { &c };
                    for (i, (&found, &(sum, size))) in found.iter().zip(exact).enumerate() {
                        let factor = f64::from(elsewhere.unwrap_or(1.0));
                        let old = f64::from(before[i]) * factor * f64::from(u8::from(epilogue.accumulate));
                        let alpha = f64::from(epilogue.alpha);
                        let expected = alpha * sum + old;
                        let size = alpha.abs() * size + old.abs();
                        let error = (f64::from(found) - expected).abs();
                        assert!(
                            error <= tolerance(k, size, expected, case.c_bf16),
                            "{shape:?} {case:?}: element {i} is {found}, not {expected}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn products_agree_with_naive_f64_sums() {
    let pool = Pool::new(2).unwrap();
    for isa in Isa::supported() {
        for shape in [(1, 1, 1), (2, 3, 1), (3, 2, 7), (7, 13, 17), (13, 33, 2), (17, 31, 31)] {
            check_shape(&pool, isa, shape, true);
        }
        for shape in [
            (1, 129, 65),
            (4, 65, 127),
            (5, 31, 129),
            (12, 32, 16),
            (31, 17, 64),
            (33, 64, 33),
            (64, 7, 65),
            (65, 127, 13),
            (127, 33, 3),
            (129, 65, 31),
            (169, 257, 5),
            (409, 385, 3),
            (3, 5, 257),
            (3, 5, 513),
            (7, 9, 1025),
            (2, 3, 1537),
        ] {
            check_shape(&pool, isa, shape, false);
        }
    }
}

#[test]
fn empty_matrices_are_products_too() {
    let pool = Pool::new(2).unwrap();
    for isa in Isa::supported() {
        for shape in [(0, 3, 2), (3, 0, 2), (3, 2, 0)] {
            check_shape(&pool, isa, shape, true);
        }
    }
}

fn plain_case(isa: Isa, bf16: bool) -> Case {
    Case {
        isa,
        a_layout: Layout::ByRows,
        b_layout: Layout::ByRows,
        a_bf16: bf16,
        b_bf16: bf16,
        c_bf16: false,
        packed: None,
        epilogue: Epilogue::STORE,
        elsewhere: None,
    }
}

/// A loss that turned into NaN must be seen where it arose, and nowhere else.
#[test]
fn padding_spreads_no_infinities() {
    let pool = Pool::new(1).unwrap();
    let shape @ (m, n, k) = (5, 35, 33);
    let (mut a, mut b) = (vec![1.0; m * k], vec![1.0; k * n]);
    a[2 * k + k - 1] = f32::INFINITY;
    b[(k - 1) * n + n - 1] = f32::INFINITY;
    for isa in Isa::supported() {
        for bf16 in [false, true] {
            let c = product(&pool, plain_case(isa, bf16), shape, &a, &b, &[0.0; 175]);
            for (i, c) in c.iter().enumerate() {
                assert_eq!(c.is_infinite(), i / n == 2 || i % n == n - 1, "{isa:?} {i}");
                assert!(!c.is_nan());
            }
        }
    }
}

/// C inside a wider matrix: its other columns stay as they are.
#[test]
fn a_strided_c_leaves_its_neighbours_alone() {
    let pool = Pool::new(2).unwrap();
    // The second goes from the microkernels to C at once, where their width divides it.
    for ((m, n, k), isa) in [(9, 6, 4), (14, 32, 5)]
        .into_iter()
        .flat_map(|shape| Isa::supported().map(move |isa| (shape, isa)))
    {
        let (a, b) = (random(m * k, 11), random(k * n, 12));
        let mut wide = vec![7.0; m * (n + 4)];
        matmul(
            &pool,
            isa,
            View::row_major(&a, m, k),
            View::row_major(&b, k, n),
            ViewMut::strided(&mut wide[2..], m, n, n + 4),
            Epilogue::STORE,
        );
        let narrow = product(&pool, plain_case(isa, false), (m, n, k), &a, &b, &vec![0.0; m * n]);
        for (i, &found) in wide.iter().enumerate() {
            let (row, col) = (i / (n + 4), i % (n + 4));
            let inside = (2..2 + n).contains(&col);
            let expected = if inside { narrow[row * n + col - 2] } else { 7.0 };
            assert_eq!(found, expected, "{isa:?} {row} {col}");
        }
    }
}

#[test]
#[should_panic(expected = "columns of A and rows of B")]
fn shapes_that_do_not_fit_are_refused() {
    let pool = Pool::new(1).unwrap();
    matmul(
        &pool,
        Isa::Portable,
        View::row_major(&[0.0_f32; 6], 2, 3),
        View::row_major(&[0.0_f32; 8], 4, 2),
        ViewMut::row_major(&mut [0.0_f32; 4], 2, 2),
        Epilogue::STORE,
    );
}
