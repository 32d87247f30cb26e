// libcublasLt: products by their definition, column-major as the library's are.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {
enum { OK = 0, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
enum { R_32F = 0, R_16BF = 14, COMPUTE_32F = 68 };
struct Layout { int type; uint64_t rows, cols; int64_t leading; };
struct Description { int transposed_a, transposed_b; };
struct Preference { uint32_t alignment[4]; };
// What the caller keeps as cublasLtMatmulAlgo_t.
struct Algorithm { uint64_t magic; uint32_t alignment[4]; uint64_t rest[5]; };
static_assert(sizeof(Algorithm) == 64, "eight words");
struct Heuristic { Algorithm algorithm; size_t workspace; int state; float waves; int reserved[4]; };
const uint64_t MAGIC = 0x5ca1ab1e;

float element(const void* from, int type, size_t index) {
    if (type == R_32F) return static_cast<const float*>(from)[index];
    uint32_t bits = uint32_t(static_cast<const uint16_t*>(from)[index]) << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
void set_element(void* to, int type, size_t index, float value) {
    if (type == R_32F) { static_cast<float*>(to)[index] = value; return; }
    uint32_t bits;
    memcpy(&bits, &value, 4);
    bool nan = (bits & 0x7fffffff) > 0x7f800000;
    static_cast<uint16_t*>(to)[index] = nan ? bits >> 16 | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
// op(matrix) as rows of `inner` floats; `by_column`: one row per column of op(matrix).
std::vector<float> gather(const void* from, const Layout& layout, bool transposed, size_t count, size_t inner, bool by_column) {
    std::vector<float> out(count * inner);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < inner; k++) {
            size_t row = by_column ? k : i, col = by_column ? i : k;
            if (transposed) { size_t swap = row; row = col; col = swap; }
            out[i * inner + k] = element(from, layout.type, row + col * layout.leading);
        }
    return out;
}
bool aligned(const void* address, uint32_t bytes) { return reinterpret_cast<uintptr_t>(address) % bytes == 0; }
}

extern "C" {
size_t cublasLtGetVersion() { return 130000; }
int cublasLtCreate(void** handle) { *handle = malloc(1); return OK; }
int cublasLtDestroy(void* handle) { free(handle); return OK; }
int cublasLtMatrixLayoutCreate(Layout** layout, int type, uint64_t rows, uint64_t cols, int64_t leading) {
    if (leading < int64_t(rows) || (type != R_32F && type != R_16BF)) return INVALID_VALUE;
    *layout = new Layout{type, rows, cols, leading};
    return OK;
}
int cublasLtMatrixLayoutDestroy(Layout* layout) { delete layout; return OK; }
int cublasLtMatmulDescCreate(Description** description, int compute, int scale) {
    if (compute != COMPUTE_32F || scale != R_32F) return NOT_SUPPORTED;
    *description = new Description{0, 0};
    return OK;
}
int cublasLtMatmulDescDestroy(Description* description) { delete description; return OK; }
int cublasLtMatmulDescSetAttribute(Description* description, int attribute, const void* value, size_t size) {
    int operation;
    if (size != sizeof operation || (attribute != 3 && attribute != 4)) return INVALID_VALUE;
    memcpy(&operation, value, size);
    if (operation > 1) return NOT_SUPPORTED;
    (attribute == 3 ? description->transposed_a : description->transposed_b) = operation;
    return OK;
}
int cublasLtMatmulPreferenceCreate(Preference** preference) { *preference = new Preference{{256, 256, 256, 256}}; return OK; }
int cublasLtMatmulPreferenceDestroy(Preference* preference) { delete preference; return OK; }
int cublasLtMatmulPreferenceSetAttribute(Preference* preference, int attribute, const void* value, size_t size) {
    if (attribute == 1) return size == 8 ? OK : INVALID_VALUE;
    // How split sums are added up: not by us.
    if (attribute == 3) return size == 4 ? OK : INVALID_VALUE;
    if (attribute < 5 || attribute > 8 || size != 4) return INVALID_VALUE;
    memcpy(&preference->alignment[attribute - 5], value, 4);
    return OK;
}
int cublasLtMatmulAlgoGetHeuristic(void*, Description* description, Layout* a, Layout* b, Layout* c, Layout* d, Preference* preference,
                                   int wanted, Heuristic* found, int* count) {
    uint64_t m = description->transposed_a ? a->cols : a->rows, k = description->transposed_a ? a->rows : a->cols;
    uint64_t n = description->transposed_b ? b->rows : b->cols, k2 = description->transposed_b ? b->cols : b->rows;
    *count = 0;
    bool fits = k == k2 && d->rows == m && d->cols == n && c->rows == m && c->cols == n && a->type == b->type && c->type == d->type;
    if (!fits || wanted < 1) return INVALID_VALUE;
    memset(found, 0, sizeof *found);
    found->algorithm.magic = MAGIC;
    memcpy(found->algorithm.alignment, preference->alignment, sizeof preference->alignment);
    *count = 1;
    return OK;
}
int cublasLtMatmul(void*, Description* description, const float* alpha, const void* a, Layout* layout_a, const void* b, Layout* layout_b,
                   const float* beta, const void* c, Layout* layout_c, void* d, Layout* layout_d, const Algorithm* algorithm, void*,
                   size_t, void*) {
    if (algorithm->magic != MAGIC) return INVALID_VALUE;
    const void* addresses[4] = {a, b, c, d};
    for (int i = 0; i < 4; i++)
        if (!aligned(addresses[i], algorithm->alignment[i])) return INVALID_VALUE;
    size_t m = layout_d->rows, n = layout_d->cols;
    size_t k = description->transposed_a ? layout_a->rows : layout_a->cols;
    std::vector<float> left = gather(a, *layout_a, description->transposed_a, m, k, false);
    std::vector<float> right = gather(b, *layout_b, description->transposed_b, n, k, true);
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < m; i++) {
            const float *x = &left[i * k], *y = &right[j * k];
            float lanes[8] = {0};
            size_t l = 0;
            for (; l + 8 <= k; l += 8)
                for (int lane = 0; lane < 8; lane++) lanes[lane] += x[l + lane] * y[l + lane];
            for (; l < k; l++) lanes[l % 8] += x[l] * y[l];
            float sum = 0;
            for (float lane : lanes) sum += lane;
            float value = *alpha * sum;
            // The addend is not read where it does not count.
            if (*beta != 0) value += *beta * element(c, layout_c->type, i + j * layout_c->leading);
            set_element(d, layout_d->type, i + j * layout_d->leading, value);
        }
    return OK;
}
}
