// What the Python package calls besides the public functions; it changes with the package.
#ifndef TDSE_RUNTIME_PYTHON_H_
#define TDSE_RUNTIME_PYTHON_H_

#include <stddef.h>
#include <stdint.h>

#include "tdse/executor.h"

extern "C" {

// Regions of kinds that this library does not know. A function that fails calls tdse_fail first.
struct tdse_region_functions {
  // A region that runs `blob`. `sizes` are bytes of its inputs and then of its outputs. NULL: it
  // failed.
  void* (*make)(const char* kind, const void* blob, size_t blob_bytes, uint32_t threads,
                const size_t* sizes, size_t count);
  // Runs it once on the addresses of its inputs and then of its outputs, at multiples of 64. One
  // thread at a time calls. 0: done.
  int (*run)(void* region, void* const* addresses, size_t count);
  void (*drop)(void* region);
};

// Notes what the function that this library has called cannot do.
TDSE_API void tdse_fail(const char* text);

// Opens model.so without preparing its regions, so that tdse_describe tells which there are; all
// other functions fail. NULL: it failed.
TDSE_API tdse_model* tdse_open(const char* path);

// Prepares all regions of an opened model; `functions` may be NULL. 0: done; -1: it failed.
TDSE_API int tdse_prepare(tdse_model* model, const tdse_region_functions* functions);

// As Executor::TimeRuns, TimeStream and Profile, into so many numbers as they return. 0: done; -1:
// it failed.
TDSE_API int tdse_time_runs(tdse_model* model, size_t count, const void* const* inputs,
                            double* times_us);
TDSE_API int tdse_time_stream(tdse_model* model, size_t count, const void* const* inputs,
                              double* times_us);
TDSE_API int tdse_profile(tdse_model* model, size_t count, const void* const* inputs,
                          double* times_us);

// Notes each region that runs until the trace is taken.
TDSE_API int tdse_start_trace(tdse_model* model);
// Ends the trace. Five numbers for each region that ran: item, region, lane, start and end in
// microseconds. They belong to the model until its next trace. -1: it failed.
TDSE_API int tdse_take_trace(tdse_model* model, const double** numbers, size_t* count);

// Skips what is on its way; the stream can be closed or go on.
TDSE_API int tdse_stream_cancel(tdse_stream* stream);
}

#endif  // TDSE_RUNTIME_PYTHON_H_
