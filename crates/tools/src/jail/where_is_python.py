# Says what Python consists of on this machine, as lines of a kind, a tab and a path. Run once, outside the jail.
import importlib
import os
import struct
import sys

print("version\t%d.%d" % sys.version_info[:2])
program = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
print("program\t" + program)

paths = [os.path.realpath(path) for path in sys.path if os.path.exists(path)]
for path in paths:
    print("path\t" + path)

# The loader that the program's header names, under the very name that the kernel will look up.
with open(program, "rb") as file:
    header = file.read(64)
    at, (size, count) = struct.unpack_from("<Q", header, 32)[0], struct.unpack_from("<HH", header, 54)
    for number in range(count):
        file.seek(at + number * size)
        part = file.read(size)
        if struct.unpack_from("<I", part)[0] == 3:
            file.seek(struct.unpack_from("<Q", part, 8)[0])
            name = file.read(struct.unpack_from("<Q", part, 32)[0])
            print("loader\t" + name.rstrip(b"\0").decode())

# The shared libraries: all that are mapped once every extension module is loaded.
shunned = {"_tkinter", "_curses", "_curses_panel", "readline", "_dbm", "_gdbm", "ossaudiodev", "nis"}
for path in paths:
    for name in sorted(os.listdir(path)) if os.path.isdir(path) else []:
        module = name.split(".")[0]
        if name.endswith(".so") and module not in shunned and not module.startswith(("_test", "xx")):
            try:
                importlib.import_module(module)
            except Exception:
                pass
libraries = set()
with open("/proc/self/maps") as maps:
    for line in maps:
        name = line.rstrip("\n").split(maxsplit=5)[5:]
        if name and name[0].startswith("/") and ".so" in name[0] and os.path.isfile(name[0]):
            libraries.add(name[0])
for library in sorted(libraries):
    if not any(library.startswith(path + "/") for path in paths):
        print("library\t" + library)
