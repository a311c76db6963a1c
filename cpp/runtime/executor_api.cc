#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "litert_api.h"
#include "model.h"
#include "python.h"
#include "tdse/executor.h"

namespace {

thread_local std::string last_error;

// Runs `body`, and notes what it throws: then the result is `failed`.
template <typename Result, typename Body>
Result Guarded(Result failed, const Body& body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    last_error = "there is not enough memory";
  } catch (const std::exception& error) {
    last_error = error.what();
  } catch (...) {
    last_error = "an unknown error";
  }
  return failed;
}

template <typename Pointer>
std::vector<Pointer> Copied(Pointer const* pointers, size_t count) {
  return count == 0 ? std::vector<Pointer>() : std::vector<Pointer>(pointers, pointers + count);
}

std::vector<const void*> InputsOf(const tdse_model* model, const void* const* inputs) {
  return Copied<const void*>(inputs, model->inputs.size());
}

std::vector<void*> OutputsOf(const tdse_model* model, void* const* outputs) {
  return Copied<void*>(outputs, model->outputs.size());
}

// Calls `body` with the stream, where that may run; one thread at a time.
template <typename Body>
int WithStream(tdse_stream* stream, const Body& body) {
  return Guarded(-1, [&] {
    // Throws in a forked process, where another thread may have had the mutex.
    stream->model.Executor();
    const std::lock_guard<std::mutex> lock(stream->mutex);
    return body(&stream->stream);
  });
}

// The numbers that `run` returns, into `times_us`.
template <typename Run>
int Timed(double* times_us, const Run& run) {
  return Guarded(-1, [&] {
    for (const double time_us : run()) *times_us++ = time_us;
    return 0;
  });
}

}  // namespace

const char* tdse_error(void) { return last_error.c_str(); }

const char* tdse_version(void) { return TDSE_VERSION; }

void tdse_set_litert_library(const char* path) {
  Guarded(0, [&] {
    tdse::litert::SetLibrary(path);
    return 0;
  });
}

void tdse_fail(const char* text) { last_error = text; }

tdse_model* tdse_open(const char* path) {
  return Guarded<tdse_model*>(nullptr, [&] {
    try {
      return new tdse_model(path);
    } catch (const std::exception& error) {
      throw std::runtime_error(std::string(path) +
                               ": the runtime module cannot be loaded: " + error.what());
    }
  });
}

int tdse_prepare(tdse_model* model, const tdse_region_functions* functions) {
  return Guarded(-1, [&] {
    const std::shared_ptr<const tdse::Plan> plan(model->opened, &model->opened->plan());
    auto executor =
        std::make_unique<tdse::SharedExecutor>(plan, tdse::FactoriesOf(model->opened, functions));
    executor->Get();
    model->executor = std::move(executor);
    return 0;
  });
}

tdse_model* tdse_load(const char* path) {
  tdse_model* model = tdse_open(path);
  if (model != nullptr && tdse_prepare(model, nullptr) != 0) {
    tdse_free(model);
    model = nullptr;
  }
  return model;
}

void tdse_free(tdse_model* model) { delete model; }

size_t tdse_input_count(const tdse_model* model) { return model->inputs.size(); }

size_t tdse_output_count(const tdse_model* model) { return model->outputs.size(); }

const tdse_tensor* tdse_input(const tdse_model* model, size_t index) {
  return index < model->inputs.size() ? &model->inputs[index] : nullptr;
}

const tdse_tensor* tdse_output(const tdse_model* model, size_t index) {
  return index < model->outputs.size() ? &model->outputs[index] : nullptr;
}

const char* tdse_describe(const tdse_model* model) { return model->description.c_str(); }

int tdse_run(tdse_model* model, const void* const* inputs, void* const* outputs) {
  return Guarded(-1, [&] {
    model->Executor().Run(InputsOf(model, inputs), OutputsOf(model, outputs));
    return 0;
  });
}

int tdse_time_runs(tdse_model* model, size_t count, const void* const* inputs, double* times_us) {
  return Timed(times_us,
               [&] { return model->Executor().TimeRuns(count, InputsOf(model, inputs)); });
}

int tdse_time_stream(tdse_model* model, size_t count, const void* const* inputs, double* times_us) {
  return Timed(times_us,
               [&] { return model->Executor().TimeStream(count, InputsOf(model, inputs)); });
}

int tdse_profile(tdse_model* model, size_t count, const void* const* inputs, double* times_us) {
  return Timed(times_us, [&] { return model->Executor().Profile(count, InputsOf(model, inputs)); });
}

int tdse_start_trace(tdse_model* model) {
  return Guarded(-1, [&] {
    model->Executor().StartTrace();
    return 0;
  });
}

int tdse_take_trace(tdse_model* model, const double** numbers, size_t* count) {
  return Guarded(-1, [&] {
    model->trace.clear();
    for (const tdse::TraceEvent& event : model->Executor().TakeTrace()) {
      model->trace.insert(model->trace.end(),
                          {static_cast<double>(event.item), static_cast<double>(event.region),
                           static_cast<double>(event.lane), event.start_us, event.end_us});
    }
    *numbers = model->trace.data();
    *count = model->trace.size();
    return 0;
  });
}

tdse_stream* tdse_stream_open(tdse_model* model) {
  return Guarded<tdse_stream*>(nullptr, [&] { return new tdse_stream(model); });
}

int tdse_stream_push(tdse_stream* stream, const void* const* inputs) {
  return WithStream(stream, [&](tdse::Stream* items) {
    return items->TryPush(InputsOf(&stream->model, inputs)) ? 1 : 0;
  });
}

int tdse_stream_ready(tdse_stream* stream) {
  return WithStream(stream, [](tdse::Stream* items) { return items->IsOldestDone() ? 1 : 0; });
}

int tdse_stream_pop(tdse_stream* stream, void* const* outputs) {
  return WithStream(stream, [&](tdse::Stream* items) {
    items->Pop(OutputsOf(&stream->model, outputs));
    return 0;
  });
}

int tdse_stream_cancel(tdse_stream* stream) {
  return WithStream(stream, [](tdse::Stream* items) {
    items->Cancel();
    return 0;
  });
}

void tdse_stream_close(tdse_stream* stream) {
  // It would wait for threads that a forked process does not have.
  if (stream == nullptr || stream->model.executor->IsOfAnotherProcess()) return;
  delete stream;
}
