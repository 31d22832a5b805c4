/* The device, its streams, events, graphs and memory; both of CUDA's interfaces. See gpu.h. */
#include "gpu.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct device device;
struct handle *handles;
int initialized, context, sticky;
static char complaints[1 << 16], calls[1 << 20];
static double clock_ms;

static void note(char *text, size_t size, const char *line) {
    size_t used = strlen(text);
    snprintf(text + used, size - used, "%s\n", line);
}

int wrong(int status, const char *format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    note(complaints, sizeof complaints, line);
    return status;
}

int enter(const char *call, int needs_context) {
    note(calls, sizeof calls, call);
    if (!initialized) return needs_context ? wrong(NOT_INITIALIZED, "%s: before cuInit", call) : OK;
    if (needs_context && !context) return wrong(INVALID_CONTEXT, "%s: no context is current", call);
    return sticky;
}

static int runtime(const char *call) { /* The runtime makes its context by itself. */
    initialized = context = 1;
    return enter(call, 1);
}

const char *rig_complaints(void) { return complaints; }
const char *rig_calls(void) { return calls; }
void rig_clear(void) { complaints[0] = calls[0] = 0; sticky = 0; }
void rig_context(int current) { initialized = context = current; }

void rig_device(const char *name, int capability, size_t memory, unsigned shared_opt_in, int driver) {
    snprintf(device.name, sizeof device.name, "%s", name);
    device.capability = capability, device.memory = memory, device.shared_opt_in = shared_opt_in;
    device.driver = driver;
}

int rig_live(int kind) { /* Handles of a kind that were not given back. */
    int count = 0;
    for (struct handle *one = handles; one; one = one->next) count += one->live && one->kind == (enum kind)kind;
    return count;
}

struct handle *add(enum kind kind) {
    struct handle *made = calloc(1, sizeof *made);
    made->kind = kind, made->live = 1, made->end = &made->work, made->next = handles;
    return handles = made;
}

struct handle *known(const void *pointer, enum kind kind) {
    for (struct handle *one = handles; one; one = one->next)
        if (one == pointer && one->kind == kind && one->live) return one;
    return NULL;
}

struct handle *holding(const void *address, enum kind kind, int live) {
    const char *at = address;
    for (struct handle *one = handles; one; one = one->next)
        if (one->kind == kind && one->live == live && at >= one->address && at < one->address + one->size) return one;
    return NULL;
}

struct handle *capturing_stream(void) {
    for (struct handle *one = handles; one; one = one->next)
        if (one->kind == STREAM && one->live && one->capturing) return one;
    return NULL;
}

/* Calls that may wait for other work, or change what it uses, spoil a capture (capture mode "thread local"). */
static int unless_capturing(const char *call) {
    struct handle *stream = capturing_stream();
    if (!stream) return OK;
    stream->broken = 1;
    return wrong(CAPTURE_UNSUPPORTED, "%s: while a stream is captured", call);
}

static struct handle *the_stream(void *stream) {
    static struct handle *legacy;
    if (stream) return known(stream, STREAM);
    return legacy ? legacy : (legacy = add(STREAM));
}

int put(void *stream, struct work work) {
    struct handle *on = the_stream(stream);
    if (!on) return wrong(INVALID_HANDLE, "a stream that does not exist, or not any more");
    struct work *kept = malloc(sizeof *kept);
    *kept = work, kept->next = NULL;
    *on->end = kept, on->end = &kept->next;
    return OK;
}

static int run(struct work *first) {
    for (struct work *work = first; work && !sticky; work = work->next) {
        if (work->what == COPY) memcpy(work->target, work->source, work->size);
        if (work->what == LAUNCH) clock_ms += 1, sticky = run_launch(work);
        if (work->what == REPLAY) run(work->other->work);
        if (work->what == RECORD) work->other->milliseconds = clock_ms, work->other->pending = 0, work->other->passed = 1;
    }
    return sticky;
}

static int finish(struct handle *stream) {
    struct work *first = stream->work;
    stream->work = NULL, stream->end = &stream->work;
    return run(first);
}

static int finish_all(void) {
    for (struct handle *one = handles; one; one = one->next)
        if (one->kind == STREAM && one->work && !one->capturing) finish(one);
    return sticky;
}

static int give_back(const char *call, void *pointer, enum kind kind) {
    struct handle *one = known(pointer, kind);
    if (!one) return wrong(INVALID_HANDLE, "%s: not a handle, or given back before", call);
    if (kind == STREAM && one->work) wrong(OK, "%s: with work that nobody waited for", call);
    one->live = 0;
    return OK;
}

/* The driver's own. */
int cuInit(unsigned flags) { initialized = 1; return enter("cuInit", 0) || flags ? INVALID_VALUE : OK; }
int cuDriverGetVersion(int *version) { *version = device.driver; return enter("cuDriverGetVersion", 0); }
int cuDeviceGetCount(int *count) { *count = device.name[0] != 0; return enter("cuDeviceGetCount", 0); }
int cuDeviceGet(int *one, int ordinal) { *one = 0; return ordinal ? wrong(101, "cuDeviceGet: %d", ordinal) : OK; }
int cuDeviceGetName(char *text, int size, int one) { snprintf(text, size, "%s", device.name); return one; }
int cuDeviceTotalMem_v2(size_t *bytes, int one) { *bytes = device.memory; return one; }
int cuCtxGetDevice(int *one) {
    note(calls, sizeof calls, "cuCtxGetDevice");
    *one = 0;
    return !initialized ? NOT_INITIALIZED : !context ? INVALID_CONTEXT : sticky;
}
int cuDeviceGetAttribute(int *value, int attribute, int one) {
    int status = initialized ? OK : wrong(NOT_INITIALIZED, "cuDeviceGetAttribute: before cuInit");
    *value = attribute == 75 ? device.capability / 10 : attribute == 76 ? device.capability % 10
           : attribute == 97 ? (int)device.shared_opt_in : attribute == 38 ? 1 << 20 : -1;
    return *value < 0 ? wrong(INVALID_VALUE, "cuDeviceGetAttribute: %d is not known here", attribute) : status | one;
}
static const char *words(int status) {
    static char text[32];
    switch (status) {
        case INVALID_VALUE: return "invalid argument";
        case INVALID_CONTEXT: return "invalid device context";
        case UNSUPPORTED_PTX: return "the provided PTX was compiled with an unsupported toolchain.";
        case ALREADY_REGISTERED: return "part or all of the requested memory range is already mapped";
    }
    snprintf(text, sizeof text, "error %d", status);
    return text;
}
int cuGetErrorString(int status, const char **text) { *text = words(status); return OK; }
const char *cudaGetErrorString(int status) { return words(status); }

/* The runtime. */
int cudaGetDevice(int *one) { *one = 0; return runtime("cudaGetDevice"); }
int cudaDeviceGetPCIBusId(char *text, int size, int one) { snprintf(text, size, "0000:01:00.0"); return one; }
int cudaDriverGetVersion(int *version) { *version = device.driver; return OK; }

int cudaMalloc(void **address, size_t size) {
    int status = runtime("cudaMalloc");
    if (status || (status = unless_capturing("cudaMalloc"))) return status;
    if (size > device.memory) return OUT_OF_MEMORY;
    struct handle *made = add(MEMORY);
    made->size = size, made->address = aligned_alloc(256, (size + 511) / 256 * 256);
    memset(made->address, 0xff, size);
    *address = made->address;
    return OK;
}

static int free_memory(const char *call, void *address, enum kind kind) {
    int status = runtime(call);
    if (status || (status = unless_capturing(call)) || !address) return status;
    struct handle *one = holding(address, kind, 1);
    if (!one && holding(address, kind, 0)) return wrong(INVALID_VALUE, "%s: twice", call);
    if (!one || one->address != address) return wrong(INVALID_VALUE, "%s: not the address of an allocation", call);
    finish_all();
    one->live = 0; /* the memory stays, so that nothing else gets its address */
    memset(one->address, 0xff, one->size);
    return sticky;
}
int cudaFree(void *address) { return free_memory("cudaFree", address, MEMORY); }
int cudaFreeHost(void *address) { return free_memory("cudaFreeHost", address, HOST); }

int cudaHostAlloc(void **address, size_t size, unsigned flags) {
    int status = runtime("cudaHostAlloc");
    if (status || (status = unless_capturing("cudaHostAlloc"))) return status;
    struct handle *made = add(HOST);
    made->size = size, made->address = aligned_alloc(4096, (size + 4095) / 4096 * 4096);
    *address = memset(made->address, 0xff, size);
    return flags ? wrong(INVALID_VALUE, "cudaHostAlloc: flags %u", flags) : OK;
}

int cudaHostRegister(void *address, size_t size, unsigned flags) {
    int status = runtime("cudaHostRegister");
    if (status) return status;
    size_t page = sysconf(_SC_PAGESIZE);
    char *first = (char *)((uintptr_t)address / page * page), *last = (char *)address + size - 1;
    for (struct handle *one = handles; one; one = one->next) {
        char *other = (char *)((uintptr_t)one->address / page * page);
        int apart = last < other || (char *)((uintptr_t)(one->address + one->size - 1) / page * page) + page <= first;
        if (one->kind == REGISTERED && one->live && !apart)
            return wrong(ALREADY_REGISTERED, "cudaHostRegister: a page that is registered already");
    }
    struct handle *made = add(REGISTERED);
    made->address = address, made->size = size;
    return (int)flags;
}

int cudaHostUnregister(void *address) {
    struct handle *one = holding(address, REGISTERED, 1);
    if (!one || one->address != address) return wrong(NOT_REGISTERED, "cudaHostUnregister: not registered");
    finish_all();
    one->live = 0;
    return runtime("cudaHostUnregister");
}

/* Whether the bytes lie in one live allocation of the device. */
static int on_device(const char *call, const void *address, size_t size) {
    struct handle *one = holding(address, MEMORY, 1);
    if (one && (const char *)address + size <= one->address + one->size) return OK;
    if (!one && holding(address, MEMORY, 0)) return wrong(INVALID_VALUE, "%s: memory that was freed", call);
    return wrong(INVALID_VALUE, "%s: %zu bytes that are not inside an allocation of the device", call, size);
}

static int pinned(const void *address, size_t size) {
    struct handle *one = holding(address, HOST, 1);
    if (!one) one = holding(address, REGISTERED, 1);
    return one && (const char *)address + size <= one->address + one->size;
}

int cudaMemcpyAsync(void *target, const void *source, size_t size, int kind, void *stream) {
    int status = runtime("cudaMemcpyAsync");
    if (status) return status;
    if (kind < 1 || kind > 3) return wrong(INVALID_VALUE, "cudaMemcpyAsync: direction %d", kind);
    if ((kind != 1 && (status = on_device("cudaMemcpyAsync", source, size)))) return status;
    if ((kind != 2 && (status = on_device("cudaMemcpyAsync", target, size)))) return status;
    const void *host = kind == 1 ? source : target;
    if (kind != 3 && holding(host, MEMORY, 1)) return wrong(INVALID_VALUE, "cudaMemcpyAsync: the wrong direction");
    if (kind != 3 && holding(host, HOST, 0)) return wrong(INVALID_VALUE, "cudaMemcpyAsync: host memory that was freed");
    if ((status = put(stream, (struct work){.what = COPY, .target = target, .source = source, .size = size}))) return status;
    if (kind == 2) memset(target, 0xff, size); /* until somebody waits */
    if (kind != 3 && !pinned(host, size) && !capturing_stream()) return finish(the_stream(stream));
    return OK;
}
int cudaMemcpy(void *target, const void *source, size_t size, int kind) {
    int status = cudaMemcpyAsync(target, source, size, kind, NULL);
    return status ? status : finish_all();
}

int cudaStreamCreate(void **stream) { *stream = add(STREAM); return runtime("cudaStreamCreate"); }
int cudaStreamDestroy(void *stream) { return runtime("cudaStreamDestroy") | give_back("cudaStreamDestroy", stream, STREAM); }
int cudaStreamSynchronize(void *stream) {
    int status = runtime("cudaStreamSynchronize");
    struct handle *one = the_stream(stream);
    if (status || (status = unless_capturing("cudaStreamSynchronize"))) return status;
    return one ? finish(one) : wrong(INVALID_HANDLE, "cudaStreamSynchronize: not a stream");
}
int cudaDeviceSynchronize(void) { int status = unless_capturing("cudaDeviceSynchronize"); return status ? status : finish_all(); }

int cudaEventCreate(void **event) { *event = add(EVENT); return runtime("cudaEventCreate"); }
int cudaEventDestroy(void *event) { return runtime("cudaEventDestroy") | give_back("cudaEventDestroy", event, EVENT); }
int cudaEventRecord(void *event, void *stream) {
    int status = runtime("cudaEventRecord");
    struct handle *one = known(event, EVENT);
    if (!one) return wrong(INVALID_HANDLE, "cudaEventRecord: not an event");
    one->pending = 1, one->passed = 0;
    return status ? status : put(stream, (struct work){.what = RECORD, .other = one});
}
int cudaEventElapsedTime(float *milliseconds, void *start_event, void *end_event) {
    struct handle *start_at = known(start_event, EVENT), *end_at = known(end_event, EVENT);
    if (!start_at || !end_at) return wrong(INVALID_HANDLE, "cudaEventElapsedTime: not an event");
    if (start_at->pending || end_at->pending) return wrong(NOT_READY, "cudaEventElapsedTime: before the event has passed");
    if (!start_at->passed || !end_at->passed) return wrong(INVALID_HANDLE, "cudaEventElapsedTime: never recorded");
    *milliseconds = (float)(end_at->milliseconds - start_at->milliseconds);
    return runtime("cudaEventElapsedTime");
}

int cudaStreamBeginCapture(void *stream, int mode) {
    int status = runtime("cudaStreamBeginCapture");
    struct handle *one = known(stream, STREAM);
    if (!one) return wrong(INVALID_HANDLE, "cudaStreamBeginCapture: not a stream that can be captured");
    if (one->capturing || mode < 0 || mode > 2) return wrong(INVALID_VALUE, "cudaStreamBeginCapture: twice, or mode %d", mode);
    finish(one);
    one->capturing = 1, one->broken = 0;
    return status;
}
int cudaStreamEndCapture(void *stream, void **graph) {
    int status = runtime("cudaStreamEndCapture");
    struct handle *one = known(stream, STREAM);
    if (!one || !one->capturing) return wrong(CAPTURE_UNMATCHED, "cudaStreamEndCapture: nothing is captured");
    struct work *captured = one->work;
    one->capturing = 0, one->work = NULL, one->end = &one->work;
    if (one->broken) return CAPTURE_INVALIDATED;
    struct handle *made = add(GRAPH);
    made->work = captured;
    *graph = made;
    return status;
}
int cudaGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) {
    struct handle *from = known(graph, GRAPH);
    if (!from || flags) return wrong(INVALID_VALUE, "cudaGraphInstantiateWithFlags: not a graph, or flags");
    struct handle *made = add(EXECUTABLE);
    made->work = from->work;
    *executable = made;
    return runtime("cudaGraphInstantiateWithFlags");
}
int cudaGraphDestroy(void *graph) { return give_back("cudaGraphDestroy", graph, GRAPH); }
int cudaGraphExecDestroy(void *graph) { return give_back("cudaGraphExecDestroy", graph, EXECUTABLE); }
int cudaGraphLaunch(void *executable, void *stream) {
    int status = runtime("cudaGraphLaunch");
    struct handle *one = known(executable, EXECUTABLE);
    if (!one) return wrong(INVALID_HANDLE, "cudaGraphLaunch: not an executable graph, or given back");
    return status ? status : put(stream, (struct work){.what = REPLAY, .other = one});
}
int cuCtxGetCurrent(void **current) { *current = context ? &context : NULL; return enter("cuCtxGetCurrent", 0); }
int cuCtxPushCurrent_v2(void *pushed) {
    return pushed == &context ? enter("cuCtxPushCurrent_v2", 0) : wrong(INVALID_CONTEXT, "cuCtxPushCurrent_v2: not a context");
}
int cuDevicePrimaryCtxRetain(void **made, int one) { *made = &context; return enter("cuDevicePrimaryCtxRetain", 0) | one; }
int cuCtxSetCurrent(void *made) {
    context = made == &context;
    return context ? enter("cuCtxSetCurrent", 0) : wrong(INVALID_CONTEXT, "cuCtxSetCurrent: not a context");
}
int cuCtxPopCurrent_v2(void **popped) { *popped = &context; return enter("cuCtxPopCurrent_v2", 1); }

/* What the driver and the runtime both have. The driver makes no context by itself. */
int cuMemAlloc_v2(void **address, size_t size) { int status = enter("cuMemAlloc_v2", 1); return status ? status : cudaMalloc(address, size); }
int cuMemcpyHtoD_v2(void *target, const void *source, size_t size) {
    int status = enter("cuMemcpyHtoD_v2", 1);
    return status ? status : cudaMemcpy(target, source, size, 1);
}
int cuMemcpyDtoH_v2(void *target, const void *source, size_t size) {
    int status = enter("cuMemcpyDtoH_v2", 1);
    return status ? status : cudaMemcpy(target, source, size, 2);
}
int cuMemsetD8Async(void *target, unsigned char value, size_t size, void *stream) {
    int status = enter("cuMemsetD8Async", 1);
    if (status || (status = on_device("cuMemsetD8Async", target, size))) return status;
    void *bytes = memset(malloc(size), value, size); /* kept, as the work is */
    return put(stream, (struct work){.what = COPY, .target = target, .source = bytes, .size = size});
}
int cuCtxSynchronize(void) { int status = enter("cuCtxSynchronize", 1); return status ? status : cudaDeviceSynchronize(); }
int cuEventCreate(void **event, unsigned flags) { int status = enter("cuEventCreate", 1) | flags; return status ? status : cudaEventCreate(event); }
int cuEventDestroy_v2(void *event) { int status = enter("cuEventDestroy_v2", 1); return status ? status : cudaEventDestroy(event); }
int cuEventRecord(void *event, void *stream) { int status = enter("cuEventRecord", 1); return status ? status : cudaEventRecord(event, stream); }
int cuEventElapsedTime(float *milliseconds, void *start_event, void *end_event) {
    int status = enter("cuEventElapsedTime", 1);
    return status ? status : cudaEventElapsedTime(milliseconds, start_event, end_event);
}
