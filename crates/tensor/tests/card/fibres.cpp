// The threads of a block as fibres of one host thread.

#include "cuda_shim.h"

#include <sys/mman.h>

namespace shim {
thread_local Thread* thread;
thread_local Place place;

std::vector<Kernel>& kernels() {
    static std::vector<Kernel> all;
    return all;
}

void fail(const char* what) {
    fprintf(stderr, "simulated card: %s\n", what);
    abort();
}

namespace {
const size_t STACK = 64 << 10;

// A switch saves what the callee must keep on the stack that it leaves.
extern "C" void shim_switch(void** from, void* to);
#if defined(__x86_64__)
__asm__(R"(
.text
.globl shim_switch
.type shim_switch,@function
shim_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size shim_switch,.-shim_switch
)");
#else
#error "the simulated card switches fibres on x86-64 only"
#endif

struct Warp {
    unsigned alive = 0, arrived = 0, generation = 0;
    uint64_t values[2][32];
};

struct Fibre {
    Thread self;
    void* stack_pointer;
    unsigned char* stack;
    bool finished;
};

struct Block {
    std::vector<Fibre> fibres;
    std::vector<Warp> warps;
    std::vector<unsigned char*> stacks;
    unsigned alive = 0, arrived = 0, generation = 0;
    // Counts what happens, so that a round in which nothing happens is seen.
    uint64_t events = 0;
    void* scheduler;
    Fibre* running;
    const Kernel* kernel;
    void** parameters;
    uint64_t random = 0x9e3779b97f4a7c15;
};
thread_local Block block;

void give_way() {
    Fibre* self = block.running;
    shim_switch(&self->stack_pointer, block.scheduler);
}

void run_thread() {
    block.kernel->call(block.parameters);
    Fibre* self = block.running;
    self->finished = true;
    block.alive--;
    block.warps[self->self.warp].alive--;
    block.events++;
    if (block.arrived > 0 && block.arrived == block.alive) fail("a thread ended while others wait in __syncthreads");
    give_way();
    fail("a thread that has ended runs again");
}

unsigned char* new_stack() {
    void* memory = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail("no memory for the stack of a thread");
    mprotect(memory, 4096, PROT_NONE);
    return static_cast<unsigned char*>(memory);
}

void prepare(Fibre& fibre, unsigned number) {
    fibre.self = {{number, 0, 0}, number % 32, number / 32, {}, 0};
    fibre.finished = false;
    // The stack as shim_switch leaves it, with the address of run_thread to return to. A function is entered with
    // the stack pointer 8 past a multiple of 16.
    void** top = reinterpret_cast<void**>(fibre.stack + STACK - 16);
    *--top = nullptr;
    *--top = reinterpret_cast<void*>(&run_thread);
    for (int i = 0; i < 6; i++) *--top = nullptr;
    fibre.stack_pointer = top;
}

// Resumes every thread that has not ended once, forwards or backwards.
void round(bool backwards) {
    size_t count = block.fibres.size();
    for (size_t i = 0; i < count; i++) {
        Fibre& fibre = block.fibres[backwards ? count - 1 - i : i];
        if (fibre.finished) continue;
        block.running = &fibre;
        thread = &fibre.self;
        shim_switch(&block.scheduler, fibre.stack_pointer);
    }
}

void run_block() {
    unsigned threads = place.threads.x;
    while (block.stacks.size() < threads) block.stacks.push_back(new_stack());
    block.fibres.resize(threads);
    block.warps.assign((threads + 31) / 32, Warp());
    block.alive = threads;
    block.arrived = 0;
    for (unsigned i = 0; i < threads; i++) {
        block.fibres[i].stack = block.stacks[i];
        block.warps[i / 32].alive++;
        prepare(block.fibres[i], i);
    }
    while (block.alive > 0) {
        block.random = block.random * 6364136223846793005 + 1442695040888963407;
        uint64_t before = block.events;
        round(block.random >> 63);
        if (block.alive > 0 && block.events == before) fail("threads wait for one another: a barrier is not reached by all");
    }
}
}  // namespace

void barrier() {
    unsigned generation = block.generation;
    block.events++;
    if (++block.arrived == block.alive) {
        block.arrived = 0;
        block.generation++;
        // The last to arrive gives way too, so that it does not always run on first.
        give_way();
        return;
    }
    while (block.generation == generation) give_way();
}

const uint64_t* exchange(unsigned mask, uint64_t value) {
    Warp& warp = block.warps[thread->warp];
    unsigned generation = warp.generation, lane = thread->lane;
    if (!(mask >> lane & 1)) fail("a lane is not in the mask of its own exchange");
    warp.values[generation & 1][lane] = value;
    block.events++;
    unsigned expected = mask == 0xffffffffu ? warp.alive : unsigned(__builtin_popcount(mask));
    if (++warp.arrived == expected) {
        warp.arrived = 0;
        warp.generation++;
    } else {
        while (warp.generation == generation) give_way();
    }
    return warp.values[generation & 1];
}

void warp_barrier(unsigned mask) { exchange(mask, 0); }

void launch(const Kernel& kernel, dim3 grid, dim3 threads, size_t shared, void** parameters) {
    if (threads.x > kernel.most_threads) fail("more threads than the kernel's KERNEL(…) allows");
    std::vector<uint64_t> dynamic(shared / 8 + 2);
    block.kernel = &kernel;
    block.parameters = parameters;
    place.grid = grid;
    place.threads = threads;
    place.dynamic_shared = reinterpret_cast<unsigned char*>((reinterpret_cast<uintptr_t>(dynamic.data()) + 15) / 16 * 16);
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                place.block = {x, y, z};
                // NaN, so that memory read before it is written shows.
                memset(dynamic.data(), 0xff, dynamic.size() * 8);
                run_block();
            }
}
}  // namespace shim
