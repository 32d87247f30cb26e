//! What decoding relies on, on every device: masks, the KV cache, starts, single positions, logits.

mod common;

use common::{cpu, cpu_levels};
use ferrochat_tensor::check::{Random, norm, relative_error, rounded, unit_roundoff};
use ferrochat_tensor::{DType, Device, Graph, NllHead, Param, RotaryTable, Tensor};

/// The oracle and every CPU level, each with the relative error it may make.
fn devices() -> Vec<(Device, f64)> {
    let mut devices = vec![(Device::oracle(), 1e-13)];
    for (kernel, dtype) in cpu_levels() {
        let device = cpu(kernel, dtype, 2).expect("a level that was found");
        devices.push((device, 16.0 * unit_roundoff(DType::F32) + 2.0 * unit_roundoff(dtype)));
    }
    devices
}

fn assert_close(device: &Device, tolerance: f64, what: &str, ours: &[f64], reference: &[f64]) {
    let error = relative_error(ours, reference);
    assert!(error <= tolerance, "{}: {what} is off by {error:.2e}", device.name());
}

/// Columns `first..last` of a `[batch, time, cols…]` tensor.
fn columns(x: &Tensor, first: usize, last: usize) -> Tensor {
    let dims = x.shape().dims().to_vec();
    let cols: usize = dims[2..].iter().product();
    let values = x.download_f64();
    let rows = values.chunks_exact(dims[1] * cols);
    let part: Vec<f64> = rows.flat_map(|row| row[first * cols..last * cols].to_vec()).collect();
    let mut shape = dims;
    shape[1] = last - first;
    let part_tensor = x.device().empty(&shape[..], x.dtype());
    part_tensor.upload_f64(&part);
    part_tensor
}

struct Heads {
    q: Tensor,
    k: Tensor,
    v: Tensor,
}

fn heads(device: &Device, batch: usize, time: usize, head_dim: usize, seed: u64) -> Heads {
    let mut random = Random::new(seed);
    let mut tensor = |heads: usize| {
        let shape = [batch, time, heads, head_dim];
        device.tensor(&random.values(shape.iter().product(), 1.0), shape)
    };
    Heads {
        q: tensor(4),
        k: tensor(2),
        v: tensor(2),
    }
}

/// Whatever stands at a masked key does not change one bit of the result, nor of the other gradients.
#[test]
fn attention_ignores_masked_keys() {
    let (batch, time, head_dim) = (2, 37, 12);
    for (device, _) in devices() {
        for window in [0, 3, 16, usize::MAX] {
            let Heads { q, k, v } = heads(&device, batch, time, head_dim, 1);
            let seed = heads(&device, batch, time, head_dim, 2).q;
            let run = |k: &Tensor, v: &Tensor| {
                let graph = Graph::training(&device);
                let leaf = graph.leaf(&q);
                let y = graph.attention(&leaf, k, v, window);
                let dq = graph.gradients(&y, &seed, &[&leaf]).remove(0).expect("a gradient");
                (y.download(), dq.download())
            };
            let before = run(&k, &v);
            let changed_key = 11;
            let (huge_k, huge_v) = (change(&k, changed_key), change(&v, changed_key));
            let after = run(&huge_k, &huge_v);
            let row = 4 * head_dim;
            for (i, (a, b)) in before.0.chunks(row).zip(after.0.chunks(row)).enumerate() {
                let position = i % time;
                let sees = position >= changed_key && position - changed_key <= window;
                assert_eq!(a != b, sees, "{}: window {window}, query {position}", device.name());
            }
            for (i, (a, b)) in before.1.chunks(row).zip(after.1.chunks(row)).enumerate() {
                let position = i % time;
                let sees = position >= changed_key && position - changed_key <= window;
                assert!(sees || a == b, "{}: window {window}, dq {position}", device.name());
            }
        }
    }
}

/// The tensor with one position of every sequence replaced by large values.
fn change(x: &Tensor, position: usize) -> Tensor {
    let dims = x.shape().dims().to_vec();
    let cols: usize = dims[2..].iter().product();
    let mut values = x.download();
    for row in values.chunks_exact_mut(dims[1] * cols) {
        row[position * cols..][..cols].fill(25.0);
    }
    let changed = x.device().empty(x.shape(), x.dtype());
    changed.upload(&values);
    changed
}

/// Query head `h` reads kv head `h / (heads / kv_heads)`: neighbours share.
#[test]
fn attention_groups_neighbouring_heads() {
    let (time, head_dim) = (13, 12);
    for (device, _) in devices() {
        let Heads { q, k, v } = heads(&device, 1, time, head_dim, 9);
        let graph = Graph::inference(&device);
        let before = graph.attention(&q, &k, &v, usize::MAX).download();
        let mut values = v.download();
        for second_head in values.chunks_exact_mut(head_dim).skip(1).step_by(2) {
            second_head.fill(7.0);
        }
        let changed = device.tensor(&values, v.shape());
        let after = graph.attention(&q, &k, &changed, usize::MAX).download();
        for (i, (a, b)) in before.chunks(head_dim).zip(after.chunks(head_dim)).enumerate() {
            assert_eq!(a != b, i % 4 >= 2, "{}: query head {}", device.name(), i % 4);
        }
    }
}

/// Prefill and decoding through a cache give the rows of attention over the whole sequence.
#[test]
fn attention_cached_equals_attention() {
    let (batch, time) = (2, 21);
    for (device, tolerance) in devices() {
        for head_dim in [4, 12, 64, 128] {
            for window in [0, 5, usize::MAX] {
                let Heads { q, k, v } = heads(&device, batch, time, head_dim, 3);
                let graph = Graph::inference(&device);
                let whole = graph.attention(&q, &k, &v, window);
                let capacity = 32;
                let cache = || {
                    let cache = device.activation([batch, capacity, 2, head_dim]);
                    // What was never written must not matter.
                    cache.fill(f32::NAN);
                    cache
                };
                let (cache_k, cache_v) = (cache(), cache());
                for (first, last) in [(0, 1), (1, 14), (14, 15), (15, 20), (20, 21)] {
                    let starts = device.indices(&[first as i32; 2], [batch]);
                    graph.cache_write(&cache_k, &columns(&k, first, last), &starts);
                    graph.cache_write(&cache_v, &columns(&v, first, last), &starts);
                    let y = graph.attention_cached(&columns(&q, first, last), &cache_k, &cache_v, window, &starts);
                    let expected = columns(&whole, first, last).download_f64();
                    let what = format!("attention {first}..{last} of heads of {head_dim}, window {window}");
                    assert_close(&device, tolerance, &what, &y.download_f64(), &expected);
                }
            }
        }
    }
}

/// A query over a cache has the bits that it has among all others, on any number of threads: blocks of keys are shared out.
#[test]
fn a_cached_query_has_the_bits_of_the_whole_sequence() {
    let (time, head_dim) = (601, 32);
    for (kernel, dtype) in cpu_levels() {
        for window in [usize::MAX, 300] {
            let mut whole: Option<Vec<f32>> = None;
            for threads in [1, 5] {
                let device = cpu(kernel, dtype, threads).expect("a level that was found");
                let Heads { q, k, v } = heads(&device, 1, time, head_dim, 8);
                let graph = Graph::inference(&device);
                let all = graph.attention(&q, &k, &v, window).download();
                assert_eq!(*whole.get_or_insert_with(|| all.clone()), all, "{}", device.name());
                for (position, count) in [(0, 1), (255, 1), (256, 2), (300, 1), (511, 3), (600, 1)] {
                    let starts = device.indices(&[position as i32], [1]);
                    let queries = columns(&q, position, position + count);
                    let y = graph.attention_cached(&queries, &k, &v, window, &starts).download();
                    let row = 4 * head_dim;
                    assert_eq!(
                        y,
                        all[position * row..(position + count) * row],
                        "{}: window {window}, {count} from {position}",
                        device.name()
                    );
                }
            }
        }
    }
}

/// Sequences of one batch that stand at different positions.
#[test]
fn attention_cached_with_different_starts() {
    let (time, head_dim) = (19, 12);
    for (device, tolerance) in devices() {
        let Heads { q, k, v } = heads(&device, 2, time, head_dim, 4);
        let graph = Graph::inference(&device);
        for window in [2, usize::MAX] {
            let whole = graph.attention(&q, &k, &v, window).download_f64();
            let starts = [7usize, 12];
            let row = 4 * head_dim;
            let pick = |values: &[f32]| -> Vec<f32> {
                let one = |b: usize| values[(b * time + starts[b]) * row..][..2 * row].to_vec();
                [one(0), one(1)].concat()
            };
            let queries = device.tensor(&pick(&q.download()), [2, 2, 4, head_dim]);
            let starts_tensor = device.indices(&starts.map(|start| start as i32), [2]);
            let y = graph.attention_cached(&queries, &k, &v, window, &starts_tensor);
            let expected: Vec<f64> = (0..2)
                .flat_map(|b| whole[(b * time + starts[b]) * row..][..2 * row].to_vec())
                .collect();
            assert_close(
                &device,
                tolerance,
                "attention with starts",
                &y.download_f64(),
                &expected,
            );
        }
    }
}

#[test]
fn cache_write_touches_only_its_rows() {
    let (batch, time, capacity, cols) = (3, 2, 9, 5);
    for (device, _) in devices() {
        let cache = device.activation([batch, capacity, cols]);
        cache.fill(-1.0);
        let values: Vec<f32> = (0..batch * time * cols).map(|i| i as f32).collect();
        let x = device.tensor(&values, [batch, time, cols]);
        let starts = [0, 7, 3];
        let graph = Graph::inference(&device);
        graph.cache_write(&cache, &x, &device.indices(&starts, [batch]));
        let mut expected = vec![-1.0; batch * capacity * cols];
        for (b, &start) in starts.iter().enumerate() {
            let to = (b * capacity + start as usize) * cols;
            expected[to..][..time * cols].copy_from_slice(&values[b * time * cols..][..time * cols]);
        }
        assert_eq!(cache.download(), expected, "{}", device.name());
    }
}

#[test]
fn select_positions_copies_rows() {
    for (device, _) in devices() {
        let values: Vec<f32> = (0..3 * 4 * 5).map(|i| i as f32).collect();
        let x = device.tensor(&values, [3, 4, 5]);
        let index = device.indices(&[3, 0, 2], [3]);
        let y = Graph::inference(&device).select_positions(&x, &index);
        assert_eq!(y.shape().dims(), [3, 1, 5]);
        let expected = [&values[15..20], &values[20..25], &values[50..55]].concat();
        assert_eq!(y.download(), expected, "{}", device.name());
    }
}

/// `logits` agrees with the product it is, and its log-softmax with `weighted_nll`.
#[test]
fn logits_agree_with_the_loss() {
    let (rows, channels, vocab, padded) = (7, 13, 19, 32);
    for (device, _) in devices() {
        for softcap in [None, Some(3.0f32)] {
            let mut random = Random::new(5);
            let x = device.tensor(&random.values(rows * channels, 1.0), [1, rows, channels]);
            let weight = Param::new(&device, "head", [padded, channels]);
            weight.upload(&rounded(&device, &random.values(padded * channels, 0.5)));
            let head = NllHead {
                weight: &weight,
                vocab,
                softcap,
            };
            let graph = Graph::inference(&device);
            let logits = graph.logits(&x, &head);
            assert_eq!(logits.shape().dims(), [rows, vocab]);
            let logits = logits.download_f64();
            let (x_values, w) = (x.download_f64(), weight.value().download_f64());
            let mut expected = Vec::new();
            for row in x_values.chunks(channels) {
                for token in w.chunks(channels).take(vocab) {
                    let z: f64 = row.iter().zip(token).map(|(a, b)| a * b).sum();
                    expected.push(softcap.map_or(z, |cap| f64::from(cap) * (z / f64::from(cap)).tanh()));
                }
            }
            // Logits are of master type on every device.
            let tolerance = 16.0 * unit_roundoff(DType::F32);
            assert_close(&device, tolerance, "logits", &logits, &expected);

            let targets = random.indices(rows, vocab);
            let weights = device.master_tensor(&vec![1.0; rows], [1, rows]);
            let nll = graph.weighted_nll(&x, &head, &device.indices(&targets, [1, rows]), &weights);
            let expected: Vec<f64> = (logits.chunks(vocab).zip(&targets))
                .map(|(row, &target)| row.iter().map(|l| l.exp()).sum::<f64>().ln() - row[target as usize])
                .collect();
            assert_close(&device, tolerance, "nll", &nll.nll.download_f64(), &expected);
            let sum: f64 = expected.iter().sum();
            assert_close(&device, tolerance, "loss", &nll.loss.download_f64(), &[sum]);
        }
    }
}

/// Rows that are masked entirely cost nothing, pull nothing, and are not NaN.
#[test]
fn masked_rows_are_harmless() {
    let (rows, channels, vocab) = (19, 8, 11);
    for (device, _) in devices() {
        let mut random = Random::new(6);
        let weight = Param::new(&device, "head", [16, channels]);
        weight.upload(&random.values(16 * channels, 1.0));
        let head = NllHead {
            weight: &weight,
            vocab,
            softcap: Some(15.0),
        };
        let x = device.tensor(&random.values(rows * channels, 1.0), [1, rows, channels]);
        let graph = Graph::training(&device);
        let leaf = graph.leaf(&x);
        let weights = device.master_tensor(&vec![1.0; rows], [1, rows]);
        let nll = graph.weighted_nll(&leaf, &head, &device.indices(&vec![-1; rows], [1, rows]), &weights);
        let seed = device.master_tensor(&[1.0], [1]);
        let grads = graph.gradients(&nll.loss, &seed, &[&leaf]);
        let zero = |what: &str, tensor: &Tensor| {
            let values = tensor.download();
            assert!(values.iter().all(|&x| x == 0.0), "{}: {what}", device.name());
        };
        zero("loss", &nll.loss);
        zero("nll", &nll.nll);
        zero("gradient of x", grads[0].as_ref().expect("a gradient"));
        zero("gradient of the head", &weight.grad().expect("a gradient"));

        // And where the logits are far apart nothing overflows.
        let far = device.tensor(&vec![3e4; rows * channels], [1, rows, channels]);
        let uncapped = NllHead { softcap: None, ..head };
        let targets = device.indices(&random.indices(rows, vocab), [1, rows]);
        for head in [&head, &uncapped] {
            let leaf = graph.leaf(&far);
            let nll = graph.weighted_nll(&leaf, head, &targets, &weights);
            let grads = graph.gradients(&nll.loss, &seed, &[&leaf]);
            for tensor in [&nll.loss, &nll.nll, grads[0].as_ref().expect("a gradient")] {
                assert!(tensor.download().iter().all(|x| x.is_finite()), "{}", device.name());
            }
        }
    }
}

/// Smearing piece by piece, each with the embedding before it, is smearing the whole.
#[test]
fn smear_goes_on_after_previous() {
    let (batch, time, channels) = (3, 8, 33);
    for (device, tolerance) in devices() {
        let mut random = Random::new(7);
        let gate = Param::new(&device, "gate", [1, 24]);
        gate.upload(&random.values(24, 0.3));
        let lambda = Param::new(&device, "lambda", [1]);
        lambda.upload(&[-0.7]);
        let x = device.tensor(&random.values(batch * time * channels, 1.0), [batch, time, channels]);
        let graph = Graph::inference(&device);
        let whole = graph.smear(&x, &gate, &lambda, None);
        let first = columns(&whole, 0, 1).download();
        assert_eq!(first, columns(&x, 0, 1).download(), "nothing stands before position 0");
        for (first, last) in [(1, 2), (2, 5), (5, 8)] {
            let previous = columns(&x, first - 1, first);
            let part = graph.smear(&columns(&x, first, last), &gate, &lambda, Some(&previous));
            let expected = columns(&whole, first, last).download_f64();
            let what = format!("smear of {first}..{last}");
            assert_close(&device, tolerance, &what, &part.download_f64(), &expected);
        }
    }
}

/// Rotating from absolute positions on is rotating the whole, and depends on the position.
#[test]
fn rotary_with_starts() {
    let (time, heads_count, head_dim) = (11, 3, 12);
    for (device, tolerance) in devices() {
        let mut random = Random::new(8);
        let shape = [2, time, heads_count, head_dim];
        let x = device.tensor(&random.values(shape.iter().product(), 1.0), shape);
        let table = RotaryTable::new(&device, 16, head_dim, 10_000.0);
        let graph = Graph::inference(&device);
        let whole = graph.rotary_qk_norm(&x, &table, None, 1.2);
        for (first, last) in [(1, 2), (4, 11)] {
            let starts = device.indices(&[first as i32; 2], [2]);
            let part = columns(&x, first, last);
            let y = graph.rotary_qk_norm(&part, &table, Some(&starts), 1.2).download_f64();
            let expected = columns(&whole, first, last).download_f64();
            assert_close(&device, tolerance, "rotary with starts", &y, &expected);
            let elsewhere = graph.rotary_qk_norm(&part, &table, None, 1.2).download_f64();
            assert!(relative_error(&elsewhere, &expected) > 0.1, "the position matters");
        }
        // Each sequence has its own start.
        let starts = device.indices(&[3, 5], [2]);
        let y = graph.rotary_qk_norm(&columns(&x, 0, 1), &table, Some(&starts), 1.2);
        let values = columns(&x, 0, 1).download();
        let half = values.len() / 2;
        for (b, start) in [(0, 3), (1, 5)] {
            let one = device.tensor(&values[b * half..][..half], [1, 1, heads_count, head_dim]);
            let starts = device.indices(&[start], [1]);
            let expected = graph.rotary_qk_norm(&one, &table, Some(&starts), 1.2).download_f64();
            let ours = &y.download_f64()[b * half..][..half];
            assert_close(&device, tolerance, "rotary with two starts", ours, &expected);
        }
        let scale = norm(&whole.download_f64()) / (whole.len() as f64).sqrt();
        assert!((scale - 1.2).abs() < 0.01, "heads are normalised to 1.2: {scale}");
    }
}

/// Rows go to rows of a cache of another capacity, and within one; nothing else changes. Attention leaves rows
/// behind its batch alone.
#[test]
fn cache_rows_are_copied_and_a_cache_may_have_more_rows_than_the_batch() {
    for (device, _) in devices() {
        let g = Graph::inference(&device);
        let values = |rows: usize, capacity: usize, from: usize| -> Vec<f32> {
            (0..rows * capacity * 6).map(|i| (from + i) as f32 % 127.0).collect()
        };
        let (from, to) = (values(3, 4, 1), values(4, 7, 60));
        let (a, b) = (device.tensor(&from, [3, 4, 2, 3]), device.tensor(&to, [4, 7, 2, 3]));
        g.cache_copy(&a, &b, &device.indices(&[2, 0, 0, 3, 2, 2], [3, 2]), 3);
        let mut expected = to;
        for (source, target) in [(2, 0), (0, 3), (2, 2)] {
            expected[target * 42..target * 42 + 18].copy_from_slice(&from[source * 24..source * 24 + 18]);
        }
        assert_eq!(b.download(), expected, "{}", device.name());
        g.cache_copy(&b, &b, &device.indices(&[3, 1], [1, 2]), 7);
        expected.copy_within(126..168, 42);
        assert_eq!(b.download(), expected, "{}", device.name());
        g.cache_copy(&b, &b, &device.indices(&[], [0, 2]), 7);

        let Heads { q, k, v } = heads(&device, 3, 5, 12, 6);
        let two = |x: &Tensor| {
            let half = x.download_f64()[..2 * x.len() / 3].to_vec();
            let part = device.empty([2, 5, x.shape().dims()[2], 12], x.dtype());
            part.upload_f64(&half);
            part
        };
        let starts = device.indices(&[0, 0], [2]);
        let few = g.attention_cached(&two(&q), &two(&k), &two(&v), 3, &starts).download();
        assert_eq!(few, g.attention_cached(&two(&q), &k, &v, 3, &starts).download());
        let (wide, narrow) = (device.activation(k.shape()), two(&k));
        wide.fill(7.0);
        g.cache_write(&wide, &narrow, &starts);
        let written = wide.download();
        assert_eq!(written[..narrow.len()], narrow.download());
        assert!(written[narrow.len()..].iter().all(|&x| x == 7.0));
    }
}
