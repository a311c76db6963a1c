#include "runs.h"

#include <random>

#include "fake_region.h"

namespace tdse {

Values RandomInputs(const Plan& plan, uint32_t seed) {
  std::mt19937 random(seed);
  Values inputs;
  for (const TensorId id : plan.inputs) {
    inputs.emplace_back(plan.tensors[id].size_bytes);
    for (uint8_t& byte : inputs.back()) byte = static_cast<uint8_t>(random());
  }
  return inputs;
}

Values RunExecutor(Executor* executor, const Plan& plan, const Values& inputs) {
  std::vector<const void*> input_addresses;
  for (const Bytes& input : inputs) input_addresses.push_back(input.data());
  Values outputs;
  std::vector<void*> output_addresses;
  for (const TensorId id : plan.outputs) outputs.emplace_back(plan.tensors[id].size_bytes, 0xA5);
  for (Bytes& output : outputs) output_addresses.push_back(output.data());
  executor->Run(input_addresses, output_addresses);
  return outputs;
}

Values ExpectedValues(const Plan& plan, const Values& inputs) {
  Values values;
  for (const PlanTensor& tensor : plan.tensors) {
    values.emplace_back(tensor.size_bytes);
    if (!tensor.is_constant()) continue;
    const Blob& blob = plan.blobs[tensor.constant_blob];
    values.back().assign(blob.data, blob.data + blob.size);
  }
  for (size_t i = 0; i < inputs.size(); ++i) values[plan.inputs[i]] = inputs[i];
  for (const PlanRegion& region : plan.regions) {
    for (const FakeCall& call : FakeCalls(plan, region)) {
      FakeKernel kernel;
      for (const TensorId id : call.reads) kernel.Read(values[id].data(), values[id].size());
      for (const TensorId id : call.writes) {
        kernel.Write(values[id].data(), values[id].size(), id);
      }
    }
  }
  return values;
}

Values ExpectedOutputs(const Plan& plan, const Values& inputs) {
  const Values values = ExpectedValues(plan, inputs);
  Values outputs;
  for (const TensorId id : plan.outputs) outputs.push_back(values[id]);
  return outputs;
}

}  // namespace tdse
