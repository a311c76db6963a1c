/* Runs models that tdsec compiled, from C or C++, without Python and without TVM.
 *
 * Any thread may call any function. Functions that can fail say so by their result; tdse_error()
 * then has the reason. Nothing throws. Text is UTF-8 and ends with a zero.
 *
 *     tdse_model* model = tdse_load("out/model.so");
 *     if (model == NULL) { puts(tdse_error()); return 1; }
 *     const void* inputs[] = {picture};   // tdse_input(model, 0)->size_bytes bytes
 *     void* outputs[] = {scores};         // tdse_output(model, 0)->size_bytes bytes
 *     if (tdse_run(model, inputs, outputs) != 0) { puts(tdse_error()); return 1; }
 *     tdse_free(model);
 *
 * Data are contiguous arrays in the machine's byte order, outermost dimension first. They need no
 * alignment; they are copied in and out, and stay the caller's.
 */
#ifndef TDSE_EXECUTOR_H_
#define TDSE_EXECUTOR_H_

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define TDSE_API __attribute__((visibility("default")))
#else
#define TDSE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* A compiled model that is loaded and ready to run. */
typedef struct tdse_model tdse_model;

/* Runs that follow each other; several are on their way where the model has several lanes. */
typedef struct tdse_stream tdse_stream;

/* An input or output. It belongs to its model. */
typedef struct tdse_tensor {
  const char* name;     /* as the plan of model.so has it */
  const char* dtype;    /* numpy's name of the element type: "int8", "float32", ... */
  size_t rank;          /* number of dimensions */
  const int64_t* shape; /* `rank` of them */
  size_t size_bytes;    /* of the whole array */
} tdse_tensor;

/* Why the last call on this thread failed, in one line; "" if none has. Valid until the next call
 * on this thread. */
TDSE_API const char* tdse_error(void);

/* The version of this library, for example "0.1.0". */
TDSE_API const char* tdse_version(void);

/* Where LiteRT's library is, for models with regions that it runs: the path of libLiteRt.so, which
 * the wheel ai-edge-litert has. By default it is looked for by that name, as the dynamic linker
 * does. Has no effect once a model has loaded it. */
TDSE_API void tdse_set_litert_library(const char* path);

/* Loads the file model.so of an artefact and prepares all its regions. NULL: it failed. The file
 * must not be written to while the model is in use; to replace it, rename another in its place. */
TDSE_API tdse_model* tdse_load(const char* path);

/* Ends a model; its streams must have been closed. NULL is allowed. */
TDSE_API void tdse_free(tdse_model* model);

TDSE_API size_t tdse_input_count(const tdse_model* model);
TDSE_API size_t tdse_output_count(const tdse_model* model);

/* In the model's order. NULL: there are not so many. */
TDSE_API const tdse_tensor* tdse_input(const tdse_model* model, size_t index);
TDSE_API const tdse_tensor* tdse_output(const tdse_model* model, size_t index);

/* Inputs, outputs, lanes and regions as a JSON object. It belongs to the model. */
TDSE_API const char* tdse_describe(const tdse_model* model);

/* Runs the model once.
 *
 * inputs:  addresses of tdse_input_count arrays
 * outputs: addresses of tdse_output_count arrays, which are written
 *
 * 0: done; -1: it failed. Calls from several threads wait for each other where they have to. */
TDSE_API int tdse_run(tdse_model* model, const void* const* inputs, void* const* outputs);

/* Opens a stream. NULL: it failed. One thread at a time may call functions of a stream. */
TDSE_API tdse_stream* tdse_stream_open(tdse_model* model);

/* Copies the inputs of a run in and starts it. 1: done; 0: too many are on their way, so pop the
 * oldest first; -1: it failed. */
TDSE_API int tdse_stream_push(tdse_stream* stream, const void* const* inputs);

/* Whether the oldest run has ended, so that pop does not wait. 1: yes; 0: no, or there is none;
 * -1: it failed. */
TDSE_API int tdse_stream_ready(tdse_stream* stream);

/* Waits for the oldest run and copies its outputs out. 0: done; -1: the run failed, or there is
 * none; those after it go on. */
TDSE_API int tdse_stream_pop(tdse_stream* stream, void* const* outputs);

/* Skips what has not started and ends the stream. NULL is allowed. */
TDSE_API void tdse_stream_close(tdse_stream* stream);

#ifdef __cplusplus
}
#endif

#endif /* TDSE_EXECUTOR_H_ */
