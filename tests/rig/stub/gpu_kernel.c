/* Modules, functions and launches. A cubin's own tables say which parameters its kernel takes. See gpu.h. */
#include "gpu.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Records in .nv.info.KERNEL (names as cuobjdump prints them). */
enum { SIZED = 4, REQUIRED_THREADS = 0x10, PARAMETER = 0x17 };
enum { USUAL_SHARED_BYTES = 48 * 1024, MOST_THREADS = 1024, MOST_GRID_YZ = 65535 };

typedef int kernel_runner(const struct launch *);
static kernel_runner *runner;
void rig_run_with(kernel_runner *given) { runner = given; }

/* The part of memory that a launch's pointer leads to; Python reads and writes it. */
int rig_range(uint64_t address, uint64_t *start_at, uint64_t *size) {
    struct handle *one = holding((void *)address, MEMORY, 1);
    if (!one) return 0;
    *start_at = (uint64_t)one->address, *size = one->size;
    return 1;
}

static int is_cubin(const char *image) { return !memcmp(image, ELFMAG, SELFMAG); }

static const Elf64_Shdr *section(const char *image, const char *name) {
    const Elf64_Ehdr *head = (const void *)image;
    const Elf64_Shdr *all = (const void *)(image + head->e_shoff);
    for (int index = 0; index < head->e_shnum; index++)
        if (!strcmp(image + all[head->e_shstrndx].sh_offset + all[index].sh_name, name)) return &all[index];
    return NULL;
}

static int cubin_capability(const char *image) { /* Where it stands depends on the version of the format. */
    unsigned flags = ((const Elf64_Ehdr *)image)->e_flags;
    return image[EI_OSABI] == 0x41 ? flags >> 8 & 0xff : flags & 0xff;
}

static int newest_ptx(void) { /* PTX ISA, "Release Notes": 90 is 9.0 */
    static const int known[][2] = {{13040, 94}, {13030, 93}, {13020, 92}, {13010, 91}, {13000, 90}, {12090, 88}, {12080, 87}, {12070, 86},
                                   {12050, 85}, {12040, 84}, {12030, 83}, {12020, 82}, {12010, 81}, {12000, 80}};
    for (size_t index = 0; index < sizeof known / sizeof *known; index++)
        if (device.driver >= known[index][0]) return known[index][1];
    return 0;
}

static int check_ptx(const char *text) {
    int major, minor, target;
    const char *version = strstr(text, ".version "), *aimed = strstr(text, ".target sm_");
    if (!version || !aimed || sscanf(version, ".version %d.%d", &major, &minor) != 2) {
        return wrong(INVALID_IMAGE, "cuModuleLoadData: neither a cubin nor PTX");
    }
    sscanf(aimed, ".target sm_%d", &target);
    if (10 * major + minor > newest_ptx())
        return wrong(UNSUPPORTED_PTX, "cuModuleLoadData: PTX %d.%d, the driver takes at most %d.%d", major, minor,
                     newest_ptx() / 10, newest_ptx() % 10);
    if (target > device.capability) return wrong(NO_BINARY, "cuModuleLoadData: PTX for sm_%d", target);
    return OK;
}

int cuModuleLoadData(void **module, const void *image) {
    int status = enter("cuModuleLoadData", 1);
    if (status) return status;
    if (capturing_stream()) {
        capturing_stream()->broken = 1;
        return wrong(CAPTURE_UNSUPPORTED, "cuModuleLoadData: while a stream is captured");
    }
    size_t size = strlen(image);
    if (is_cubin(image)) {
        const Elf64_Ehdr *head = image;
        if (cubin_capability(image) != device.capability)
            return wrong(NO_BINARY, "cuModuleLoadData: machine code for sm_%d on sm_%d", cubin_capability(image),
                         device.capability);
        size_t sections = head->e_shoff + (size_t)head->e_shnum * head->e_shentsize;
        size = head->e_phoff + (size_t)head->e_phnum * head->e_phentsize;
        if (size < sections) size = sections;
    } else if ((status = check_ptx(image))) {
        return status;
    }
    struct handle *made = add(MODULE);
    made->image = memcpy(calloc(1, size + 1), image, size), made->image_size = size;
    *module = made;
    return OK;
}

int cuModuleUnload(void *module) {
    struct handle *one = known(module, MODULE);
    int status = enter("cuModuleUnload", 1);
    if (!one) return wrong(INVALID_HANDLE, "cuModuleUnload: not a module, or unloaded before");
    one->live = 0;
    for (struct handle *each = handles; each; each = each->next)
        if (each->kind == FUNCTION && each->module == one) each->live = 0;
    return status;
}

static void read_cubin(struct handle *function, const char *image, const Elf64_Shdr *info) {
    const unsigned char *at = (const unsigned char *)image + info->sh_offset, *last = at + info->sh_size;
    while (at < last) {
        unsigned length = at[2] | at[3] << 8, record[3] = {0};
        if (at[0] == SIZED && length >= 12) memcpy(record, at + 4, sizeof record);
        if (at[0] == SIZED && at[1] == PARAMETER) {
            unsigned ordinal = record[1] & 0xffff;
            function->offsets[ordinal] = record[1] >> 16, function->sizes[ordinal] = record[2] >> 18;
            if (function->parameters <= ordinal) function->parameters = ordinal + 1;
        }
        if (at[0] == SIZED && at[1] == REQUIRED_THREADS) function->threads = record[0];
        at += at[0] == SIZED ? 4 + length : 4;
    }
}

static void read_ptx(struct handle *function, const char *entry) {
    const char *last = strchr(entry, ')');
    unsigned offset = 0;
    for (const char *at = strstr(entry, ".param ."); at && at < last; at = strstr(at + 1, ".param .")) {
        unsigned size = atoi(at + 9) / 8; /* .u64, .b32, .f32... */
        offset = (offset + size - 1) / size * size;
        function->offsets[function->parameters] = offset, function->sizes[function->parameters++] = size;
        offset += size;
    }
    const char *threads = strstr(last, ".reqntid "), *body = strchr(last, '{');
    if (threads && threads < body) function->threads = atoi(threads + 9);
}

int cuModuleGetFunction(void **function, void *module, const char *name) {
    int status = enter("cuModuleGetFunction", 1);
    struct handle *from = known(module, MODULE), *made;
    char wanted[256];
    if (status || !from) return status ? status : wrong(INVALID_HANDLE, "cuModuleGetFunction: not a module");
    snprintf(wanted, sizeof wanted, is_cubin(from->image) ? ".nv.info.%s" : ".entry %s(", name);
    const Elf64_Shdr *info = is_cubin(from->image) ? section(from->image, wanted) : NULL;
    const char *entry = is_cubin(from->image) ? NULL : strstr(from->image, wanted);
    if (!info && !entry) return wrong(NOT_FOUND, "cuModuleGetFunction: no kernel %s", name);
    made = add(FUNCTION);
    made->module = from, made->dynamic_shared = USUAL_SHARED_BYTES;
    snprintf(made->name, sizeof made->name, "%s", name);
    if (info) read_cubin(made, from->image, info);
    else read_ptx(made, entry);
    *function = made;
    return OK;
}

int cuFuncSetAttribute(void *function, int attribute, int value) {
    int status = enter("cuFuncSetAttribute", 1);
    struct handle *one = known(function, FUNCTION);
    if (!one) return wrong(INVALID_HANDLE, "cuFuncSetAttribute: not a function, or of an unloaded module");
    if (attribute != 8 || value < 0 || (unsigned)value > device.shared_opt_in)
        return wrong(INVALID_VALUE, "cuFuncSetAttribute: %d bytes of shared memory, a block has at most %u", value,
                     device.shared_opt_in);
    one->dynamic_shared = value;
    return status;
}

static int check_shape(const struct handle *function, const uint32_t *shape, uint32_t shared_bytes) {
    for (int axis = 0; axis < 3; axis++)
        if (!shape[axis] || shape[axis] > (axis ? MOST_GRID_YZ : INT32_MAX))
            return wrong(INVALID_VALUE, "cuLaunchKernel: %u blocks along axis %d", shape[axis], axis);
    uint64_t threads = (uint64_t)shape[3] * shape[4] * shape[5];
    if (!threads || threads > MOST_THREADS || (function->threads && threads != function->threads))
        return wrong(INVALID_VALUE, "cuLaunchKernel: %lu threads, %s takes %u", threads, function->name,
                     function->threads ? function->threads : MOST_THREADS);
    if (shared_bytes > function->dynamic_shared)
        return wrong(INVALID_VALUE, "cuLaunchKernel: %u bytes of shared memory, %s may have %u", shared_bytes,
                     function->name, function->dynamic_shared);
    return OK;
}

static uint32_t packed_bytes(const struct handle *function) {
    uint32_t last = function->parameters - 1;
    return function->parameters ? function->offsets[last] + function->sizes[last] : 0;
}

/* ``extra``: 1, the address of packed parameters, 2, that of their size, 0. */
static const char *packed(const struct handle *function, void **extra) {
    const char *buffer = NULL;
    size_t size = 0;
    for (; extra && *extra; extra += 2) {
        if (*extra == (void *)1) buffer = extra[1];
        if (*extra == (void *)2) size = *(size_t *)extra[1];
    }
    if (!buffer || size != packed_bytes(function)) {
        wrong(INVALID_VALUE, "cuLaunchKernel: %zu bytes of parameters, %s takes %u", size, function->name,
              packed_bytes(function));
        return NULL;
    }
    return buffer;
}

int cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                   unsigned block_y, unsigned block_z, unsigned shared_bytes, void *stream, void **parameters,
                   void **extra) {
    int status = enter("cuLaunchKernel", 1);
    struct handle *one = known(function, FUNCTION), *on = known(stream, STREAM);
    uint32_t shape[] = {grid_x, grid_y, grid_z, block_x, block_y, block_z};
    if (!one) return wrong(INVALID_HANDLE, "cuLaunchKernel: not a function, or of an unloaded module");
    if (status || (status = check_shape(one, shape, shared_bytes))) return status;
    if (!parameters == !extra) return wrong(INVALID_VALUE, "cuLaunchKernel: parameters in two ways, or in none");
    const char *buffer = extra ? packed(one, extra) : NULL;
    if (extra && !buffer) return INVALID_VALUE;
    struct work work = {.what = LAUNCH, .other = one,
                        .launch = {.kernel = one->name, .image = one->module->image,
                                   .image_size = one->module->image_size, .shared_bytes = shared_bytes, .parameters = one->parameters}};
    memcpy(work.launch.grid, shape, sizeof work.launch.grid);
    memcpy(work.launch.block, shape + 3, sizeof work.launch.block);
    for (uint32_t index = 0; index < one->parameters; index++) {
        work.launch.sizes[index] = one->sizes[index];
        memcpy(&work.launch.values[index], buffer ? buffer + one->offsets[index] : parameters[index], one->sizes[index]);
    }
    if (on && on->capturing && !one->plain_runs)
        wrong(OK, "cuLaunchKernel: %s is captured before its first plain launch", one->name);
    one->plain_runs += !(on && on->capturing);
    return put(stream, work);
}

/* A kernel runs: its pointers must lead to memory of the device that lives, at multiples of 16 bytes. */
int run_launch(const struct work *work) {
    const struct launch *launch = &work->launch;
    if (!work->other->live) return wrong(ILLEGAL_ADDRESS, "%s: its module was unloaded before it ran", launch->kernel);
    for (uint32_t index = 0; index < launch->parameters; index++) {
        const void *address = (const void *)launch->values[index];
        if (launch->sizes[index] != 8) continue;
        if (!holding(address, MEMORY, 1))
            return wrong(ILLEGAL_ADDRESS, "%s: parameter %u leads to no %s memory of the device", launch->kernel, index,
                         holding(address, MEMORY, 0) ? "living" : "");
        if ((uintptr_t)address % 16)
            return wrong(MISALIGNED, "%s: parameter %u is no multiple of 16 bytes", launch->kernel, index);
    }
    return runner ? runner(launch) : OK;
}
