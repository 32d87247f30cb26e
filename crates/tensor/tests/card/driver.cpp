// libcuda: the driver functions that `src/cuda` calls, on the host. Work is done before a call returns; memory has
// guard bytes on both sides that are looked at after every kernel.

#include "cuda_shim.h"

#include <map>
#include <mutex>
#include <string>

namespace shim {
void launch(const Kernel& kernel, dim3 grid, dim3 threads, size_t shared, void** parameters);
}

namespace {
// Values of CUresult.
enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101, INVALID_IMAGE = 200, NOT_FOUND = 500, ILLEGAL_ADDRESS = 700 };
typedef unsigned long long Address;

const size_t GUARD = 64;
const unsigned char GUARD_BYTE = 0xA5;
const size_t TOTAL = size_t(8) << 30;

struct Block { unsigned char* raw; size_t bytes; };
struct Module { std::string file, element; };

std::mutex lock;
std::map<Address, Block> blocks;
size_t live = 0;

long setting(const char* name, long otherwise) {
    const char* value = getenv(name);
    return value ? atol(value) : otherwise;
}
long cards() { return setting("SIMULATED_CARDS", 1); }
// 80 is 8.0.
long capability() { return setting("SIMULATED_CAPABILITY", 80); }
size_t total() { return setting("SIMULATED_MEMORY", TOTAL); }
// Whether a kernel has failed: after that every call fails.
bool failed = false;

bool intact(const Block& block) {
    for (size_t i = 0; i < GUARD; i++)
        if (block.raw[i] != GUARD_BYTE || block.raw[GUARD + block.bytes + i] != GUARD_BYTE) return false;
    return true;
}

void check_guards(const char* file, const char* name) {
    std::lock_guard<std::mutex> held(lock);
    for (auto& [address, block] : blocks)
        if (!intact(block)) {
            fprintf(stderr, "simulated card: %s/%s wrote outside a block of %zu bytes\n", file, name, block.bytes);
            abort();
        }
}

// Whether the bytes lie in one live block.
bool inside(Address address, size_t bytes) {
    std::lock_guard<std::mutex> held(lock);
    auto after = blocks.upper_bound(address);
    if (after == blocks.begin()) return false;
    auto& [start, block] = *--after;
    return address + bytes <= start + block.bytes;
}
}  // namespace

extern "C" {
int cuInit(unsigned) { return cards() > 0 ? OK : NO_DEVICE; }
int cuDriverGetVersion(int* version) { *version = setting("SIMULATED_DRIVER", 13000); return OK; }
int cuGetErrorName(int error, const char** name) { *name = error == NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" : "CUDA_ERROR"; return OK; }
int cuGetErrorString(int, const char** text) { *text = "an error of the simulated card"; return OK; }
int cuDeviceGetCount(int* count) { *count = cards(); return OK; }
int cuDeviceGet(int* device, int ordinal) { *device = ordinal; return ordinal < cards() ? OK : INVALID_DEVICE; }
int cuDeviceGetName(char* name, int size, int) { snprintf(name, size, "Simulated Card"); return OK; }
int cuDeviceTotalMem_v2(size_t* bytes, int) { *bytes = total(); return OK; }

int cuDeviceGetAttribute(int* value, int attribute, int) {
    switch (attribute) {
        case 75: *value = capability() / 10; return OK;
        case 76: *value = capability() % 10; return OK;
        case 16: *value = 1; return OK;
        case 97: *value = 163 << 10; return OK;
        default: *value = 0; return INVALID_VALUE;
    }
}
int cuDevicePrimaryCtxRetain(void** context, int) { *context = &blocks; return OK; }
int cuCtxSetCurrent(void*) { return OK; }
int cuCtxSynchronize() { return OK; }
int cuStreamCreate(void** stream, unsigned) { if (failed) return ILLEGAL_ADDRESS; *stream = malloc(1); return OK; }
int cuStreamSynchronize(void*) { return failed ? ILLEGAL_ADDRESS : OK; }
int cuStreamDestroy_v2(void* stream) { free(stream); return OK; }
int cuDeviceGetDefaultMemPool(void** pool, int) { *pool = &blocks; return OK; }
int cuMemPoolSetAttribute(void*, int attribute, void*) { return attribute == 4 ? OK : INVALID_VALUE; }
int cuMemPoolTrimTo(void*, size_t) { return failed ? ILLEGAL_ADDRESS : OK; }
int cuMemGetInfo_v2(size_t* free_bytes, size_t* all) {
    std::lock_guard<std::mutex> held(lock);
    *free_bytes = total() - live, *all = total();
    return OK;
}

int cuMemAllocAsync(Address* address, size_t bytes, void*) {
    if (failed) return ILLEGAL_ADDRESS;
    std::lock_guard<std::mutex> held(lock);
    if (live + bytes > total()) return OUT_OF_MEMORY;
    size_t whole = (bytes + 2 * GUARD + 255) / 256 * 256;
    auto raw = static_cast<unsigned char*>(aligned_alloc(256, whole + 256));
    if (!raw) return OUT_OF_MEMORY;
    // The block begins at a multiple of 256 as a card's do; NaN, so that memory read before it is written shows.
    raw += 256 - GUARD;
    memset(raw, GUARD_BYTE, GUARD);
    memset(raw + GUARD, 0xff, bytes);
    memset(raw + GUARD + bytes, GUARD_BYTE, GUARD);
    *address = reinterpret_cast<Address>(raw + GUARD);
    blocks[*address] = {raw, bytes};
    live += bytes;
    return OK;
}
int cuMemFreeAsync(Address address, void*) {
    if (failed) return ILLEGAL_ADDRESS;
    std::lock_guard<std::mutex> held(lock);
    auto found = blocks.find(address);
    if (found == blocks.end()) return INVALID_VALUE;
    Block block = found->second;
    if (!intact(block)) shim::fail("a block was written to outside its bounds");
    memset(block.raw + GUARD, 0xff, block.bytes);
    free(block.raw - (256 - GUARD));
    live -= block.bytes;
    blocks.erase(found);
    return OK;
}
int cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, void*) {
    if (failed) return ILLEGAL_ADDRESS;
    if (!inside(to, bytes)) return INVALID_VALUE;
    memcpy(reinterpret_cast<void*>(to), from, bytes);
    return OK;
}
int cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, void*) {
    if (failed) return ILLEGAL_ADDRESS;
    if (!inside(from, bytes)) return INVALID_VALUE;
    memcpy(to, reinterpret_cast<void*>(from), bytes);
    return OK;
}
int cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, void*) {
    if (failed) return ILLEGAL_ADDRESS;
    if (!inside(to, bytes) || !inside(from, bytes)) return INVALID_VALUE;
    memcpy(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes);
    return OK;
}
int cuMemsetD8Async(Address to, unsigned char value, size_t bytes, void*) {
    if (failed) return ILLEGAL_ADDRESS;
    if (!inside(to, bytes)) return INVALID_VALUE;
    memset(reinterpret_cast<void*>(to), value, bytes);
    return OK;
}

// An image is what our NVRTC makes: "simulated card", file and element type, on lines of their own.
int cuModuleLoadData(void** module, const void* image) {
    auto text = static_cast<const char*>(image);
    if (strncmp(text, "simulated card\n", 15)) return INVALID_IMAGE;
    std::string rest = text + 15;
    size_t line = rest.find('\n');
    if (line == std::string::npos) return INVALID_IMAGE;
    *module = new Module{rest.substr(0, line), rest.substr(line + 1, rest.find('\n', line + 1) - line - 1)};
    return OK;
}
int cuModuleUnload(void* module) { delete static_cast<Module*>(module); return OK; }
int cuModuleGetFunction(void** function, void* handle, const char* name) {
    auto module = static_cast<Module*>(handle);
    for (auto& kernel : shim::kernels())
        if (module->file == kernel.file && module->element == kernel.element && !strcmp(kernel.name, name)) {
            *function = &kernel;
            return OK;
        }
    return NOT_FOUND;
}
int cuFuncSetAttribute(void*, int attribute, int bytes) { return attribute == 8 && bytes <= 163 << 10 ? OK : INVALID_VALUE; }
int cuFuncGetParamInfo(void* function, size_t index, size_t* offset, size_t* size) {
    auto kernel = static_cast<shim::Kernel*>(function);
    if (index >= kernel->sizes.size()) return INVALID_VALUE;
    *offset = index * 8, *size = kernel->sizes[index];
    return OK;
}
int cuLaunchKernel(void* function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned threads_y, unsigned threads_z,
                   unsigned shared, void*, void** parameters, void**) {
    if (failed) return ILLEGAL_ADDRESS;
    auto kernel = static_cast<shim::Kernel*>(function);
    if (!x || !y || !z || !threads || threads > 1024 || threads_y != 1 || threads_z != 1 || shared > 163 << 10) return INVALID_VALUE;
    shim::launch(*kernel, {x, y, z}, {threads, 1, 1}, shared, parameters);
    check_guards(kernel->file, kernel->name);
    // A card says so later.
    failed = setting("SIMULATED_FAILURE", 0) != 0;
    return OK;
}
}
