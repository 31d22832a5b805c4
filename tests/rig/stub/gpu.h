/* A GPU that is not one: what the two halves of its library share. One thread, one device, one context.

   Device memory is host memory that no host pointer of the caller leads to. Work on a stream is kept until somebody waits
   for it, as on hardware: results that are read before are poison. What CUDA would refuse, or what would go wrong on
   hardware without a word, is a status and a line in the complaints. */
#ifndef RIG_GPU_H
#define RIG_GPU_H

#include <stddef.h>
#include <stdint.h>

/* CUresult and cudaError_t have the same numbers (driver_types.h, cuda.h). */
enum {
    OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, INVALID_POINTER = 17, INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201, NO_BINARY = 209, UNSUPPORTED_PTX = 222, INVALID_HANDLE = 400, NOT_FOUND = 500,
    NOT_READY = 600, ILLEGAL_ADDRESS = 700, ALREADY_REGISTERED = 712, NOT_REGISTERED = 713, MISALIGNED = 716,
    CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901, CAPTURE_UNMATCHED = 903,
};

enum kind { MEMORY, HOST, REGISTERED, STREAM, EVENT, GRAPH, EXECUTABLE, MODULE, FUNCTION };

#define MOST_PARAMETERS 64

struct launch {                      /* What a kernel is started with; tests/rig/gpu.py has the same. */
    const char *kernel, *image;
    uint64_t image_size;
    uint32_t grid[3], block[3];
    uint32_t shared_bytes, parameters;
    uint32_t sizes[MOST_PARAMETERS];
    uint64_t values[MOST_PARAMETERS];
};

struct work {
    enum { COPY, LAUNCH, RECORD, REPLAY } what;
    void *target;
    const void *source;
    size_t size;
    struct launch launch;
    struct handle *other;            /* the function, event or graph */
    struct work *next;
};

struct handle {
    enum kind kind;
    int live;
    char *address;                   /* of memory */
    size_t size;
    struct work *work, **end;        /* of a stream, a graph */
    int capturing, broken;           /* a stream */
    int pending, passed;             /* an event: not reached yet, reached */
    double milliseconds;
    struct handle *module;           /* of a function */
    char name[128];
    uint32_t parameters, sizes[MOST_PARAMETERS], offsets[MOST_PARAMETERS], threads, static_shared, dynamic_shared;
    int plain_runs;                  /* of a function: launches outside of a capture */
    char *image;                     /* of a module */
    size_t image_size;
    struct handle *next;
};

struct device {
    char name[64];
    int capability, driver;          /* 87 is 8.7; 13000 is CUDA 13.0 */
    size_t memory;
    uint32_t shared_opt_in;
};

extern struct device device;
extern struct handle *handles;
extern int initialized, context, sticky;

/* Note a call, and return whether it may go on: 0, or the status that it must return. */
int enter(const char *call, int needs_context);
/* Note what was wrong, and return ``status``. */
int wrong(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct handle *add(enum kind kind);
/* The handle, if it is a live one of that kind. */
struct handle *known(const void *pointer, enum kind kind);
/* The memory of that kind that holds an address, live or (``live`` 0) given back. */
struct handle *holding(const void *address, enum kind kind, int live);
struct handle *capturing_stream(void);
/* Add work to a stream, or to the graph that it captures. */
int put(void *stream, struct work work);
int run_launch(const struct work *work);
#endif
