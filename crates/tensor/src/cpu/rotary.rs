//! Rotary embedding, QK norm and scale of one head at a time, forward and backward.
//!
//! Compiled for the usual head sizes: of a few vectors each, with no loop around them.

use super::Cpu;
use super::elem::{Elem, indices, input, parts};
use super::math::dot;
use super::rows::{RMS_EPS, with_head_size};
use crate::backend::{Buffer, RotaryArgs};
use crate::ops::rotary::MAX_HEAD_DIM;

/// Heads of a row that go together, and numbers that they may have.
const TOGETHER: usize = 8;
const BUFFER: usize = TOGETHER * 128;
const _: () = assert!(BUFFER >= MAX_HEAD_DIM, "room for one head");

/// Rotated heads: what was just stored is read again at once, which takes long where it crosses a cache line.
#[repr(align(64))]
struct Buffered([f32; BUFFER]);

/// Where a head begins, and its channels.
#[derive(Clone, Copy)]
struct Head {
    start: usize,
    dim: usize,
}

/// Cosines and sines of one position.
struct Angles<'a, T> {
    cos: &'a [T],
    sin: &'a [T],
}

impl<T: Elem> Angles<'_, T> {
    /// `(y1, y2) = (x1·cos + x2·sin, x2·cos − x1·sin)`.
    #[inline(always)]
    fn rotate(&self, x: &[T], y: &mut [f32]) {
        let half = self.cos.len();
        let ((x1, x2), (y1, y2)) = (x.split_at(half), y.split_at_mut(half));
        // All of one known length, so that the loop vectorises.
        let (x2, y2, sin) = (&x2[..half], &mut y2[..half], &self.sin[..half]);
        for j in 0..half {
            let (c, s) = (self.cos[j].to_f32(), sin[j].to_f32());
            let (a, b) = (x1[j].to_f32(), x2[j].to_f32());
            y1[j] = a * c + b * s;
            y2[j] = b * c - a * s;
        }
    }

    /// By the opposite angle.
    #[inline(always)]
    fn rotate_back(&self, y: &[f32], x: &mut [T]) {
        let half = self.cos.len();
        let ((y1, y2), (x1, x2)) = (y.split_at(half), x.split_at_mut(half));
        let (y2, x2, sin) = (&y2[..half], &mut x2[..half], &self.sin[..half]);
        for j in 0..half {
            let (c, s) = (self.cos[j].to_f32(), sin[j].to_f32());
            let (a, b) = (y1[j], y2[j]);
            x1[j] = T::from_f32(a * c - b * s);
            x2[j] = T::from_f32(a * s + b * c);
        }
    }
}

impl Cpu {
    pub(crate) fn rotary<T: Elem>(&self, args: &RotaryArgs, x: Buffer, y: Buffer) {
        let (x, y) = (input::<T>(x), parts::<T>(y));
        self.for_heads::<T, _>(
            args,
            #[inline(always)]
            |head, angles, rotated| {
                angles.rotate(&x[head.start..][..head.dim], rotated);
                args.scale / (dot(self.isa, rotated, rotated) / head.dim as f32 + RMS_EPS).sqrt()
            },
            #[inline(always)]
            |head, _, rotated, r| {
                // SAFETY: heads of one run are disjoint.
                let y = unsafe { y.part(head.start, head.dim) };
                for (y, &v) in y.iter_mut().zip(&*rotated) {
                    *y = T::from_f32(v * r);
                }
            },
        );
    }

    pub(crate) fn rotary_backward<T: Elem>(&self, args: &RotaryArgs, x: Buffer, dy: Buffer, dx: Buffer) {
        let (x, dy, dx) = (input::<T>(x), input::<T>(dy), parts::<T>(dx));
        self.for_heads::<T, _>(
            args,
            #[inline(always)]
            |head, angles, rotated| {
                let n = head.dim as f32;
                angles.rotate(&x[head.start..][..head.dim], rotated);
                let r = 1.0 / (dot(self.isa, rotated, rotated) / n + RMS_EPS).sqrt();
                (r, dot(self.isa, &dy[head.start..][..head.dim], rotated) * r * r / n)
            },
            #[inline(always)]
            |head, angles, rotated, (r, m)| {
                // SAFETY: heads of one run are disjoint.
                let dx = unsafe { dx.part(head.start, head.dim) };
                for (v, dy) in rotated.iter_mut().zip(&dy[head.start..][..head.dim]) {
                    *v = args.scale * r * (dy.to_f32() - *v * m);
                }
                angles.rotate_back(rotated, dx);
            },
        );
    }

    /// For some heads of a row at a time, calls `first` with each and its buffer, for the rotated head, and then `second` with each, its
    /// buffer and what `first` returned. What follows on a sum waits for it; so no head waits alone.
    #[inline(always)]
    fn for_heads<T: Elem, R: Copy + Default>(
        &self,
        args: &RotaryArgs,
        first: impl Fn(Head, &Angles<T>, &mut [f32]) -> R + Sync,
        second: impl Fn(Head, &Angles<T>, &mut [f32], R) + Sync,
    ) {
        assert!(
            args.head_dim <= MAX_HEAD_DIM,
            "heads of at most {MAX_HEAD_DIM} channels"
        );
        let (cos, sin) = (input::<T>(args.cos), input::<T>(args.sin));
        let starts = args.starts.map(indices);
        let (heads, row_len) = (args.heads, args.heads * args.head_dim);
        self.for_rows(args.batch * args.time, row_len, &|range| {
            self.isa.vectorize(
                #[inline(always)]
                || {
                    with_head_size(
                        args.head_dim,
                        #[inline(always)]
                        |dim| {
                            // On the stack: no head is larger.
                            let mut buffer = Buffered([0.0; BUFFER]);
                            let buffer = &mut buffer.0;
                            let mut results = [R::default(); TOGETHER];
                            let together = (BUFFER / dim).min(TOGETHER);
                            for row in range.clone() {
                                let (sequence, step) = (row / args.time, row % args.time);
                                let position = step + starts.map_or(0, |s| s[sequence] as usize);
                                let at = position * (dim / 2);
                                let (cos, sin) = (&cos[at..][..dim / 2], &sin[at..][..dim / 2]);
                                let angles = Angles { cos, sin };
                                for some in (0..heads).step_by(together) {
                                    let head = |index: usize| {
                                        let start = row * row_len + (some + index) * dim;
                                        (Head { start, dim }, index * dim..(index + 1) * dim)
                                    };
                                    let count = together.min(heads - some);
                                    for (index, result) in results[..count].iter_mut().enumerate() {
                                        let (head, place) = head(index);
                                        *result = first(head, &angles, &mut buffer[place]);
                                    }
                                    for (index, &result) in results[..count].iter().enumerate() {
                                        let (head, place) = head(index);
                                        second(head, &angles, &mut buffer[place], result);
                                    }
                                }
                            }
                        },
                    );
                },
            );
        });
    }
}
