// libnvrtc: does not compile anything. The machine code that it makes says which file of kernels is meant; libcuda has
// them all.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {
enum { OK = 0, INVALID_OPTION = 5, COMPILATION = 6 };
struct Program { std::string name, source, code; };
}

extern "C" {
int nvrtcVersion(int* major, int* minor) { *major = 13, *minor = 0; return OK; }
const char* nvrtcGetErrorString(int) { return "an error of the simulated compiler"; }
int nvrtcCreateProgram(Program** program, const char* source, const char* name, int, const char* const*, const char* const*) {
    *program = new Program{name, source, ""};
    return OK;
}
int nvrtcDestroyProgram(Program** program) { delete *program; *program = nullptr; return OK; }
int nvrtcCompileProgram(Program* program, int count, const char* const* options) {
    std::string element, architecture, file = program->name;
    for (int i = 0; i < count; i++) {
        if (!strcmp(options[i], "-DELEMENT_BF16")) element = "bf16";
        if (!strcmp(options[i], "-DELEMENT_F32")) element = "f32";
        if (!strncmp(options[i], "--gpu-architecture=sm_", 22)) architecture = options[i] + 19;
    }
    if (element.empty() || architecture.empty() || file.size() < 3) return COMPILATION;
    // The newest architecture that this compiler knows: 90 is sm_90.
    const char* newest = getenv("SIMULATED_NVRTC");
    if (newest && atoi(architecture.c_str() + 3) > atoi(newest)) return INVALID_OPTION;
    // A file with a line for each compilation.
    if (const char* path = getenv("SIMULATED_COMPILATIONS"))
        if (FILE* log = fopen(path, "a")) {
            fprintf(log, "%s %s %s\n", file.c_str(), element.c_str(), architecture.c_str());
            fclose(log);
        }
    program->code = "simulated card\n" + file.substr(0, file.size() - 3) + "\n" + element + "\n";
    return OK;
}
int nvrtcGetProgramLogSize(Program*, size_t* size) { *size = 1; return OK; }
int nvrtcGetProgramLog(Program*, char* log) { *log = 0; return OK; }
int nvrtcGetCUBINSize(Program* program, size_t* size) { *size = program->code.size() + 1; return OK; }
int nvrtcGetCUBIN(Program* program, char* code) { memcpy(code, program->code.c_str(), program->code.size() + 1); return OK; }
}
