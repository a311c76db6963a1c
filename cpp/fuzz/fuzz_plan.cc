// Fuzz target: any bytes are refused as a plan, or make an executor that runs within its buffers.
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "fake_region.h"
#include "plans.h"

namespace {

// Plans with more than this are only described: the fuzzer is to look for wrong accesses, not to
// fill the memory.
constexpr size_t kMaxBytes = size_t{1} << 20;

void RunOnce(tdse::Plan plan) {
  size_t bytes = 0;
  for (const tdse::PlanTensor& tensor : plan.tensors) bytes += tensor.size_bytes;
  if (bytes > kMaxBytes) return;
  std::vector<tdse::AlignedBuffer> buffers;
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  for (const tdse::TensorId id : plan.inputs) {
    buffers.emplace_back(plan.tensors[id].size_bytes);
    inputs.push_back(buffers.back().data());
  }
  size_t output_bytes = 0;
  for (const tdse::TensorId id : plan.outputs) {
    // A damaged list of outputs may name the same tensor many times.
    output_bytes += plan.tensors[id].size_bytes;
    if (output_bytes > kMaxBytes) return;
    buffers.emplace_back(plan.tensors[id].size_bytes);
    outputs.push_back(buffers.back().data());
  }
  // Without threads, of which a plan may want a thousand.
  plan.lanes = {tdse::PlanLane()};
  for (tdse::PlanRegion& region : plan.regions) region.lanes = {0};
  tdse::Executor executor(tdse::Shared(plan), tdse::FakeFactories(plan));
  executor.Run(inputs, outputs);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // A copy, as the module makes one: blobs must be aligned. It holds bytes to spare after its end,
  // so the parser gets an exact one to read.
  const std::vector<uint8_t> exact(data, data + size);
  try {
    tdse::ParsePlan(exact.data(), exact.size());
  } catch (const std::runtime_error&) {
    return 0;
  }
  const tdse::AlignedBuffer aligned(data, size);
  const tdse::Plan plan = tdse::ParsePlan(aligned.data(), aligned.size());
  if (tdse::DescribePlan(plan).empty()) __builtin_trap();
  RunOnce(plan);
  return 0;
}
