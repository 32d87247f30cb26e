// A file of kernels for one element type. What two files name alike is two things: NVRTC compiles each for itself.

#include "cuda_shim.h"

namespace {
#include COMMON
#include SOURCE
}  // namespace
