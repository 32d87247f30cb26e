//! Rotary embedding, QK norm and scale of one head at a time, forward and backward.
//!
//! Compiled for the usual head sizes: of a few vectors each, with no loop around them.

use super::Cpu;
use super::elem::{Elem, indices, input, parts};
use super::math::dot;
use super::rows::{RMS_EPS, with_head_size};
use crate::backend::{Buffer, RotaryArgs};
use crate::ops::rotary::MAX_HEAD_DIM;

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
        self.for_heads::<T>(
            args,
            #[inline(always)]
            |start, dim, angles, rotated| {
                // SAFETY: heads of one run are disjoint.
                let y = unsafe { y.part(start, dim) };
                angles.rotate(&x[start..][..dim], rotated);
                let r = args.scale / (dot(self.isa, rotated, rotated) / dim as f32 + RMS_EPS).sqrt();
                for (y, &v) in y.iter_mut().zip(&*rotated) {
                    *y = T::from_f32(v * r);
                }
            },
        );
    }

    pub(crate) fn rotary_backward<T: Elem>(&self, args: &RotaryArgs, x: Buffer, dy: Buffer, dx: Buffer) {
        let (x, dy, dx) = (input::<T>(x), input::<T>(dy), parts::<T>(dx));
        self.for_heads::<T>(
            args,
            #[inline(always)]
            |start, dim, angles, rotated| {
                // SAFETY: heads of one run are disjoint.
                let dx = unsafe { dx.part(start, dim) };
                let (dy, n) = (&dy[start..][..dim], dim as f32);
                angles.rotate(&x[start..][..dim], rotated);
                let r = 1.0 / (dot(self.isa, rotated, rotated) / n + RMS_EPS).sqrt();
                let m = dot(self.isa, dy, rotated) * r * r / n;
                for (v, dy) in rotated.iter_mut().zip(dy) {
                    *v = args.scale * r * (dy.to_f32() - *v * m);
                }
                angles.rotate_back(rotated, dx);
            },
        );
    }

    /// Calls `body(first element of the head, its size, angles of its position, buffer for the rotated head)`.
    #[inline(always)]
    fn for_heads<T: Elem>(&self, args: &RotaryArgs, body: impl Fn(usize, usize, Angles<T>, &mut [f32]) + Sync) {
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
                            let mut buffer = [0.0f32; MAX_HEAD_DIM];
                            for row in range.clone() {
                                let (sequence, step) = (row / args.time, row % args.time);
                                let position = step + starts.map_or(0, |s| s[sequence] as usize);
                                let at = position * (dim / 2);
                                let (cos, sin) = (&cos[at..][..dim / 2], &sin[at..][..dim / 2]);
                                for start in (row * row_len..).step_by(dim).take(heads) {
                                    body(start, dim, Angles { cos, sin }, &mut buffer[..dim]);
                                }
                            }
                        },
                    );
                },
            );
        });
    }
}
