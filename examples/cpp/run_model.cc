// Runs a model that tdsec compiled, without Python:
//
//   run_model OUT/model.so [LIBLITERT.so [INPUT.bin ...]]
//
// Inputs are raw bytes, one file for each; without files, all bytes are zero. Prints what the model
// takes and gives, how long runs take, and the time from one result to the next in a stream. The
// outputs are written to output0.bin, output1.bin, ...
#include <tdse/executor.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

constexpr int kRuns = 50;

using Bytes = std::vector<char>;

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "run_model: %s\n", what.c_str());
  std::exit(1);
}

void Print(const char* role, const tdse_tensor& tensor) {
  std::printf("%s %s: %s[", role, tensor.name, tensor.dtype);
  for (size_t i = 0; i < tensor.rank; ++i) {
    std::printf(i == 0 ? "%lld" : ", %lld", static_cast<long long>(tensor.shape[i]));
  }
  std::printf("]\n");
}

Bytes ReadFile(const std::string& path, size_t size_bytes) {
  std::ifstream file(path, std::ios::binary);
  if (!file) Fail(path + " cannot be read");
  Bytes bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (bytes.size() != size_bytes) {
    Fail(path + " has " + std::to_string(bytes.size()) + " bytes, the input has " +
         std::to_string(size_bytes));
  }
  return bytes;
}

double MicrosecondsSince(std::chrono::steady_clock::time_point start) {
  const auto passed = std::chrono::steady_clock::now() - start;
  return std::chrono::duration<double, std::micro>(passed).count();
}

// The median of runs one after the other.
double TimeRuns(tdse_model* model, const void* const* inputs, void* const* outputs) {
  std::vector<double> times_us;
  for (int i = 0; i < kRuns; ++i) {
    const auto start = std::chrono::steady_clock::now();
    if (tdse_run(model, inputs, outputs) != 0) Fail(tdse_error());
    times_us.push_back(MicrosecondsSince(start));
  }
  std::nth_element(times_us.begin(), times_us.begin() + kRuns / 2, times_us.end());
  return times_us[kRuns / 2];
}

// The mean time between results of a stream.
double TimeStream(tdse_model* model, const void* const* inputs, void* const* outputs) {
  tdse_stream* stream = tdse_stream_open(model);
  if (stream == nullptr) Fail(tdse_error());
  const auto start = std::chrono::steady_clock::now();
  for (int pushed = 0, popped = 0; popped < kRuns;) {
    const int status = pushed < kRuns ? tdse_stream_push(stream, inputs) : 0;
    if (status < 0) Fail(tdse_error());
    if (status == 1) {
      ++pushed;
    } else if (tdse_stream_pop(stream, outputs) == 0) {
      ++popped;
    } else {
      Fail(tdse_error());
    }
  }
  const double time_us = MicrosecondsSince(start) / kRuns;
  tdse_stream_close(stream);
  return time_us;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) Fail("usage: run_model OUT/model.so [LIBLITERT.so [INPUT.bin ...]]");
  if (count > 2) tdse_set_litert_library(arguments[2]);
  tdse_model* model = tdse_load(arguments[1]);
  if (model == nullptr) Fail(tdse_error());

  std::vector<Bytes> arrays;
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  const size_t n_inputs = tdse_input_count(model);
  const size_t n_files = count > 3 ? count - 3 : 0;
  if (n_files != 0 && n_files != n_inputs) Fail("give one file for each input, or none");
  for (size_t i = 0; i < n_inputs; ++i) {
    const tdse_tensor& tensor = *tdse_input(model, i);
    Print("input", tensor);
    arrays.push_back(n_files != 0 ? ReadFile(arguments[3 + i], tensor.size_bytes)
                                  : Bytes(tensor.size_bytes));
    inputs.push_back(arrays.back().data());
  }
  for (size_t i = 0; i < tdse_output_count(model); ++i) {
    const tdse_tensor& tensor = *tdse_output(model, i);
    Print("output", tensor);
    arrays.emplace_back(tensor.size_bytes);
    outputs.push_back(arrays.back().data());
  }

  std::printf("a run: %.0f us\n", TimeRuns(model, inputs.data(), outputs.data()));
  std::printf("in a stream: %.0f us\n", TimeStream(model, inputs.data(), outputs.data()));
  for (size_t i = 0; i < outputs.size(); ++i) {
    std::ofstream("output" + std::to_string(i) + ".bin", std::ios::binary)
        .write(static_cast<const char*>(outputs[i]),
               static_cast<std::streamsize>(tdse_output(model, i)->size_bytes));
  }
  tdse_free(model);
  return 0;
}
