// SPDX-License-Identifier: Apache-2.0
// A stand-in for NVIDIA's driver library that computes nothing and forgives nothing.
//
// Work on a stream waits until somebody synchronises, as on a GPU that is slow; what is put on a
// stream that is being recorded only runs when the graph is launched. Calls without a current
// context, waiting or allocating while recording, copies beyond an allocation and handles that were freed are
// errors. Built and used by stand_in_cuda.py; error numbers are those of cuda.h.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef void (*host_function)(void *);
enum { OK = 0, INVALID = 1, NO_CONTEXT = 201, BAD_HANDLE = 400, RECORDING = 900, NO_NAME = 500 };
enum { COPY, CALL, MARK };
enum { IDLE, CAPTURING, BROKEN };

typedef struct op {
  int kind;
  void *to;
  const void *from;
  size_t size;
  host_function function;
  void *data;
  struct op *next;
} op;
typedef struct { int magic; int mode; op *first, *last; } stream_t;
typedef struct { int magic; int pending; stream_t *stream; } event_t;
typedef struct { int magic; op *first, *last; } graph_t;
typedef struct block { char *start; size_t size; struct block *next; } block;

static const int STREAM = 0x57, EVENT = 0xE7, GRAPH = 0x64;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int live, init_code, gpus = 1, integrated, capability = 87, retained, launches;
static char fail_name[64];
static int fail_after, fail_code;
static __thread int current, recording;
static block *blocks;
static char context_object;

// Controls of the tests.
void stand_in_reset(int code, int count, int shares_memory, int compute_capability) {
  init_code = code; gpus = count; integrated = shares_memory; capability = compute_capability; fail_name[0] = 0; launches = 0;
}
void stand_in_fail(const char *name, int after, int code) {
  strncpy(fail_name, name, sizeof fail_name - 1); fail_after = after; fail_code = code;
}
int stand_in_live(void) { return live; }
int stand_in_retained(void) { return retained; }
int stand_in_launches(void) { return launches; }

static int failing(const char *name) {
  if (strcmp(name, fail_name) != 0) return 0;
  return fail_after-- > 0 ? 0 : fail_code;
}
#define MAY_FAIL { int code = failing(__func__); if (code) return code; }
#define NEEDS_CONTEXT { if (current < 1) return NO_CONTEXT; }

// The machine.
int cuInit(unsigned flags) { (void)flags; return init_code; }
int cuDriverGetVersion(int *version) { *version = 12080; return OK; }
int cuGetErrorName(int code, const char **name) {
  *name = code == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : code == RECORDING ? "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED" : "CUDA_ERROR_UNKNOWN";
  return OK;
}
int cuGetErrorString(int code, const char **text) { return cuGetErrorName(code, text); }
int cuDeviceGetCount(int *count) { MAY_FAIL *count = gpus; return OK; }
int cuDeviceGet(int *device, int index) { *device = index; return index < gpus ? OK : 101; }
int cuDeviceGetName(char *name, int length, int device) { (void)device; strncpy(name, "Stand-in GPU", length); return OK; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { (void)device; *bytes = (size_t)8 << 30; return OK; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  (void)device;
  *value = attribute == 75 ? capability / 10 : attribute == 76 ? capability % 10 : attribute == 18 ? integrated : 0;
  return OK;
}

// The context: one, and a count of how often it is current on a thread.
int cuDevicePrimaryCtxRetain(void **context, int device) { (void)device; MAY_FAIL *context = &context_object; retained++; return OK; }
int cuDevicePrimaryCtxRelease_v2(int device) { (void)device; retained--; return OK; }
int cuDevicePrimaryCtxRelease(int device) { return cuDevicePrimaryCtxRelease_v2(device); }
int cuCtxPushCurrent_v2(void *context) { if (context != &context_object || retained < 1) return NO_CONTEXT; current++; return OK; }
int cuCtxPopCurrent_v2(void **context) { if (current < 1) return NO_CONTEXT; if (context) *context = &context_object; current--; return OK; }
int cuCtxGetDevice(int *device) { NEEDS_CONTEXT *device = 0; return OK; }

// Memory.
static int allocate(void **pointer, size_t size) {
  block *made = malloc(sizeof *made);
  made->start = calloc(1, size); made->size = size;
  pthread_mutex_lock(&lock);
  made->next = blocks; blocks = made; live++;
  pthread_mutex_unlock(&lock);
  *pointer = made->start;
  return OK;
}
static int release(void *pointer) {
  int found = BAD_HANDLE;
  pthread_mutex_lock(&lock);
  for (block **at = &blocks; *at; at = &(*at)->next)
    if ((*at)->start == pointer) {
      block *gone = *at; *at = gone->next; free(gone->start); free(gone); live--; found = OK; break;
    }
  pthread_mutex_unlock(&lock);
  return found;
}
static int inside(const void *pointer, size_t size) {
  int found = 0;
  pthread_mutex_lock(&lock);
  for (block *b = blocks; b && !found; b = b->next)
    found = (const char *)pointer >= b->start && (const char *)pointer + size <= b->start + b->size;
  pthread_mutex_unlock(&lock);
  return found;
}
int cuMemAlloc_v2(void **pointer, size_t size) { MAY_FAIL NEEDS_CONTEXT if (recording) return RECORDING; return allocate(pointer, size); }
int cuMemFree_v2(void *pointer) { NEEDS_CONTEXT return release(pointer); }
int cuMemHostAlloc(void **pointer, size_t size, unsigned flags) { (void)flags; MAY_FAIL NEEDS_CONTEXT return allocate(pointer, size); }
int cuMemFreeHost(void *pointer) { NEEDS_CONTEXT return release(pointer); }
int cuMemHostGetDevicePointer_v2(void **address, void *pointer, unsigned flags) { (void)flags; *address = pointer; return OK; }

// Streams.
static void run(op *o) {
  if (o->kind == COPY) memcpy(o->to, o->from, o->size);
  else if (o->kind == CALL) o->function(o->data);
  else ((event_t *)o->data)->pending--;
}
static void append(op **first, op **last, op content) {
  op *made = malloc(sizeof *made);
  *made = content; made->next = 0;
  if (*last) (*last)->next = made; else *first = made;
  *last = made;
}
static void drop(op **first, op **last) {
  while (*first) { op *next = (*first)->next; free(*first); *first = next; }
  *last = 0;
}
static int put(stream_t *s, op content) {
  NEEDS_CONTEXT
  if (!s || s->magic != STREAM) return BAD_HANDLE;
  if (s->mode == BROKEN) return RECORDING;
  if (content.kind == COPY && (!inside(content.to, content.size) || !inside(content.from, content.size))) return INVALID;
  append(&s->first, &s->last, content);
  return OK;
}
static int wait_for(stream_t *s, event_t *until) {
  NEEDS_CONTEXT
  if (!s || s->magic != STREAM) return BAD_HANDLE;
  if (s->mode != IDLE) { s->mode = BROKEN; return RECORDING; }
  while (s->first && (!until || until->pending)) {
    op *o = s->first;
    s->first = o->next;
    if (!s->first) s->last = 0;
    run(o);
    free(o);
  }
  return OK;
}
int cuStreamCreate(stream_t **s, unsigned flags) {
  MAY_FAIL NEEDS_CONTEXT
  if (flags != 1) return INVALID;
  *s = calloc(1, sizeof **s); (*s)->magic = STREAM; live++;
  return OK;
}
int cuStreamDestroy_v2(stream_t *s) {
  NEEDS_CONTEXT
  if (s->magic != STREAM) return BAD_HANDLE;
  drop(&s->first, &s->last); s->magic = 0; free(s); live--;
  return OK;
}
int cuStreamSynchronize(stream_t *s) { MAY_FAIL return wait_for(s, 0); }
int cuMemcpyHtoDAsync_v2(void *to, const void *from, size_t size, stream_t *s) { MAY_FAIL return put(s, (op){COPY, to, from, size, 0, 0, 0}); }
int cuMemcpyDtoHAsync_v2(void *to, const void *from, size_t size, stream_t *s) { MAY_FAIL return put(s, (op){COPY, to, from, size, 0, 0, 0}); }
int cuLaunchHostFunc(stream_t *s, host_function function, void *data) { return put(s, (op){CALL, 0, 0, 0, function, data, 0}); }

// Events.
int cuEventCreate(event_t **e, unsigned flags) { (void)flags; NEEDS_CONTEXT *e = calloc(1, sizeof **e); (*e)->magic = EVENT; live++; return OK; }
int cuEventDestroy_v2(event_t *e) { NEEDS_CONTEXT if (e->magic != EVENT) return BAD_HANDLE; e->magic = 0; free(e); live--; return OK; }
int cuEventRecord(event_t *e, stream_t *s) {
  if (s && s->magic == STREAM && s->mode != IDLE) return RECORDING;
  e->pending++; e->stream = s;
  return put(s, (op){MARK, 0, 0, 0, 0, e, 0});
}
int cuEventSynchronize(event_t *e) { MAY_FAIL NEEDS_CONTEXT if (e->magic != EVENT) return BAD_HANDLE; return e->pending ? wait_for(e->stream, e) : OK; }

// Graphs.
int cuStreamBeginCapture_v2(stream_t *s, int mode) {
  MAY_FAIL NEEDS_CONTEXT
  if (!s || s->magic != STREAM || mode != 1) return INVALID;
  if (s->mode != IDLE || s->first) return RECORDING;
  s->mode = CAPTURING; recording = 1;
  return OK;
}
int cuStreamEndCapture(stream_t *s, graph_t **g) {
  int broken = s->mode == BROKEN;
  *g = 0;
  if (s->mode == IDLE) return RECORDING;
  s->mode = IDLE; recording = 0;
  if (broken) { drop(&s->first, &s->last); return 901; }
  *g = calloc(1, sizeof **g); (*g)->magic = GRAPH; (*g)->first = s->first; (*g)->last = s->last;
  s->first = s->last = 0; live++;
  return OK;
}
int cuGraphInstantiateWithFlags(graph_t **replay, graph_t *g, unsigned long long flags) {
  (void)flags;
  MAY_FAIL
  if (!g || g->magic != GRAPH) return BAD_HANDLE;
  *replay = calloc(1, sizeof **replay); (*replay)->magic = GRAPH; live++;
  for (op *o = g->first; o; o = o->next) append(&(*replay)->first, &(*replay)->last, *o);
  return OK;
}
int cuGraphDestroy(graph_t *g) {
  if (g->magic != GRAPH) return BAD_HANDLE;
  drop(&g->first, &g->last); g->magic = 0; free(g); live--;
  return OK;
}
int cuGraphExecDestroy(graph_t *g) { NEEDS_CONTEXT return cuGraphDestroy(g); }
int cuGraphLaunch(graph_t *g, stream_t *s) {
  MAY_FAIL NEEDS_CONTEXT
  if (!g || g->magic != GRAPH) return BAD_HANDLE;
  launches++;
  for (op *o = g->first; o; o = o->next) { int code = put(s, *o); if (code) return code; }
  return OK;
}
