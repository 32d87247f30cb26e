//! What an element of a product must not depend on, bit by bit.

use super::*;

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn bits_do_not_depend_on_threads() {
    let pools = [1, 2, 3].map(|threads| Pool::new(threads).unwrap());
    let shape @ (m, n, k) = (203, 171, 1100);
    let (a, b, c) = (random(m * k, 4), random(k * n, 5), random(m * n, 6));
    for isa in Isa::supported() {
        for bf16 in [false, true] {
            let mut case = plain_case(isa, bf16);
            case.epilogue = Epilogue::ADD;
            let run = |pool| bits(&product(pool, case, shape, &a, &b, &c));
            let one = run(&pools[0]);
            for pool in &pools[1..] {
                assert!(run(pool) == one, "{case:?}, {} threads", pool.threads());
            }
        }
    }
}

/// What makes decoding with a KV cache agree with decoding without one.
#[test]
fn bits_of_a_row_do_not_depend_on_the_other_rows() {
    let pool = Pool::new(2).unwrap();
    // The second can be read where it lies, and rounded by the microkernels.
    for ((m, n, k), c_bf16) in [((41, 77, 1035), false), ((41, 64, 600), true)] {
        let (a, b) = (random(m * k, 7), random(k * n, 8));
        let zeros = vec![0.0; m * n];
        for (isa, bf16) in Isa::supported().flat_map(|isa| [(isa, false), (isa, true)]) {
            let case = Case {
                c_bf16,
                ..plain_case(isa, bf16)
            };
            let all = bits(&product(&pool, case, (m, n, k), &a, &b, &zeros));
            for rows in [1, 2, 3, 5, 14] {
                for top in (0..m - rows).step_by(7) {
                    let part = &a[top * k..(top + rows) * k];
                    let zeros = &zeros[..rows * n];
                    let found = bits(&product(&pool, case, (rows, n, k), part, &b, zeros));
                    assert!(found == all[top * n..(top + rows) * n], "{case:?}, {rows}");
                }
            }
        }
    }
}

/// Few rows go through a packed B in bands of their own; here in several tiles, panels and blocks of k.
#[test]
fn few_rows_have_the_bits_of_many() {
    let pool = Pool::new(2).unwrap();
    // The first can be read where it lies, the second lies a page apart, the third ends inside a panel.
    for (n, k) in [(160, 1000), (64, 2048), (75, 1000)] {
        let m = 2 * blocking::FEW_ROWS;
        let (a, b, c) = (random(m * k, 30), random(k * n, 31), random(m * n, 32));
        for (isa, bf16) in Isa::supported().flat_map(|isa| [(isa, false), (isa, true)]) {
            for (c_bf16, epilogue) in [(false, Epilogue::STORE), (false, Epilogue::ADD), (true, Epilogue::ADD)] {
                let case = Case {
                    c_bf16: c_bf16 && bf16,
                    epilogue,
                    packed: Some(if bf16 { Precision::Bf16 } else { Precision::F32 }),
                    ..plain_case(isa, bf16)
                };
                let all = bits(&product(&pool, case, (m, n, k), &a, &b, &c));
                for rows in [1, 2, 5, 6, 7, 12, 13, 25, 37, 64] {
                    let top = m - rows - 3;
                    let (a, c) = (&a[top * k..(top + rows) * k], &c[top * n..(top + rows) * n]);
                    let found = bits(&product(&pool, case, (rows, n, k), a, &b, c));
                    assert!(
                        found == all[top * n..(top + rows) * n],
                        "{case:?}, {rows} rows, {n} × {k}"
                    );
                }
            }
        }
    }
}

/// Nor on whether A is read where it lies or packed, as rows a page apart are (a k of 2048), nor on whether sums are rounded
/// by the microkernels, which they can be in whole panels (an n of 64) of some layouts.
#[test]
fn bits_do_not_depend_on_layout_or_packing() {
    use Layout::{ByColumns, ByRows, Sparse};
    let pool = Pool::new(2).unwrap();
    for shape @ (m, n, k) in [(29, 50, 600), (29, 64, 600), (13, 64, 2048)] {
        let (a, b, c) = (random(m * k, 9), random(k * n, 10), random(m * n, 6));
        for isa in Isa::supported() {
            for (bf16, c_bf16) in [(false, false), (true, false), (true, true)] {
                let case = Case {
                    c_bf16,
                    epilogue: Epilogue::ADD,
                    ..plain_case(isa, bf16)
                };
                let plain = bits(&product(&pool, case, shape, &a, &b, &c));
                for (a_layout, b_layout) in [
                    (ByRows, ByRows),
                    (ByRows, ByColumns),
                    (ByColumns, ByRows),
                    (Sparse, Sparse),
                ] {
                    for packed in [None, Some(())] {
                        let precision = if bf16 { Precision::Bf16 } else { Precision::F32 };
                        let case = Case {
                            a_layout,
                            b_layout,
                            packed: packed.map(|()| precision),
                            ..case
                        };
                        let found = bits(&product(&pool, case, shape, &a, &b, &c));
                        assert!(found == plain, "{case:?} {shape:?}");
                    }
                }
            }
        }
    }
}

/// Weight gradients: operands packed by all workers, in slabs, for regions of C.
#[test]
fn slabs_and_regions_change_no_bits() {
    let pools = [1, 3].map(|threads| Pool::new(threads).unwrap());
    let (m, n, k) = (107, 150, 1300);
    let (a, b, c) = (random(m * k, 15), random(k * n, 16), random(m * n, 17));
    let layouts = [Layout::ByRows, Layout::ByColumns];
    for isa in Isa::supported() {
        for (case, bf16) in (0..8).zip([false, true].into_iter().cycle()) {
            let (a_layout, b_layout) = (layouts[case / 2 % 2], layouts[case / 4]);
            let (a, b) = (arrange(&a, m, k, a_layout), arrange(&b, k, n, b_layout));
            let (a16, b16) = (round(&a), round(&b));
            let operands = || -> (MatrixRef, MatrixRef) {
                if bf16 {
                    (view(&a16, m, k, a_layout).into(), view(&b16, k, n, b_layout).into())
                } else {
                    (view(&a, m, k, a_layout).into(), view(&b, k, n, b_layout).into())
                }
            };
            let mut expected = c.clone();
            let (left, right) = operands();
            let out = ViewMut::row_major(&mut expected, m, n).into();
            let product = Product::new(isa, left, right.into(), Output::Matrix(out, Epilogue::ADD));
            assert_eq!(
                product.cut(),
                None,
                "too small for slabs, so every tile packs by itself"
            );
            multiply(&pools[0], &product);
            for (blocks, shares) in [
                (1, (true, true)),
                (2, (true, false)),
                (9, (true, true)),
                (1, (false, true)),
            ] {
                for pool in &pools {
                    let mut found = c.clone();
                    let (left, right) = operands();
                    let out = ViewMut::row_major(&mut found, m, n).into();
                    let product = Product::new(isa, left, right.into(), Output::Matrix(out, Epilogue::ADD));
                    let (mr, nr) = (product.kernel.mr, product.kernel.nr);
                    let block = k_block(product.units(), product.kernel);
                    let cut = blocking::Cut {
                        tile: (2 * mr, nr),
                        region: (4 * mr, 3 * nr),
                        block,
                        slab: block * blocks,
                        shares,
                    };
                    slabs::multiply(pool, &product, cut);
                    assert!(bits(&found) == bits(&expected), "{isa:?} {case} {bf16} {cut:?}");
                }
            }
        }
    }
}

/// Muon's Gram matrices, one or several at a time, and what is added to them, which need not be symmetric.
#[test]
fn half_of_a_symmetric_product_gives_the_bits_of_the_whole() {
    let pools = [1, 3].map(|threads| Pool::new(threads).unwrap());
    for (m, k) in [
        (0, 3),
        (3, 0),
        (1, 1),
        (17, 40),
        (96, 33),
        (97, 300),
        (400, 20),
        (500, 150),
        (650, 170),
    ] {
        for batch in [1, 3].into_iter().filter(|&batch| batch == 1 || m < 100) {
            let (a, c, addend) = (
                random(batch * m * k, 18),
                random(batch * m * m, 19),
                random(batch * m * m, 20),
            );
            let (a16, c16, addend16) = (round(&a), round(&c), round(&addend));
            for (isa, bf16) in Isa::supported().flat_map(|isa| [(isa, false), (isa, true)]) {
                for (epilogue, factor) in [
                    (Epilogue::STORE, None),
                    (Epilogue::ADD, None),
                    (
                        Epilogue {
                            alpha: 0.5,
                            accumulate: true,
                        },
                        Some(-3.0),
                    ),
                ] {
                    for layout in [Layout::ByRows, Layout::ByColumns] {
                        let operands = |index: usize| -> (MatrixRef<'_>, MatrixRef<'_>) {
                            if bf16 {
                                let a = view(&a16[index * m * k..][..m * k], m, k, layout);
                                (a.into(), a.t().into())
                            } else {
                                let a = view(&a[index * m * k..][..m * k], m, k, layout);
                                (a.into(), a.t().into())
                            }
                        };
                        let run = |pool: &Pool, half: bool| {
                            if bf16 {
                                let mut c = c16.clone();
                                let mut out = ViewMut::row_major(&mut c, batch * m, m);
                                if let Some(factor) = factor {
                                    out = out.adding(View::row_major(&addend16, batch * m, m), factor);
                                }
                                matmul_batch(pool, isa, batch, &operands, half, out, epilogue);
                                bits(&widen(&c))
                            } else {
                                let mut c = c.clone();
                                let mut out = ViewMut::row_major(&mut c, batch * m, m);
                                if let Some(factor) = factor {
                                    out = out.adding(View::row_major(&addend, batch * m, m), factor);
                                }
                                matmul_batch(pool, isa, batch, &operands, half, out, epilogue);
                                bits(&c)
                            }
                        };
                        let whole = run(&pools[0], false);
                        for (pool, half) in [(&pools[0], true), (&pools[1], true), (&pools[1], false)] {
                            let same = run(pool, half) == whole;
                            assert!(
                                same,
                                "{batch} {m} {k} {isa:?} {bf16} {layout:?} {epilogue:?} {factor:?} {half}"
                            );
                        }
                    }
                }
            }
        }
    }
}
