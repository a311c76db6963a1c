#include "executor.h"

#include <chrono>
#include <cstring>
#include <stdexcept>

namespace tdse {
namespace {

using Clock = std::chrono::steady_clock;

double MicrosecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

std::vector<int64_t> CompactStrides(const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= shape[i];
  }
  return strides;
}

[[noreturn]] void RethrowNaming(const PlanRegion& region, const std::exception& error) {
  throw std::runtime_error("region " + region.name + ": " + error.what());
}

}  // namespace

Executor::Executor(const Plan& plan, const RegionFactories& factories)
    : plan_(plan), buffer_plan_(PlanBuffers(plan)), arena_(buffer_plan_.arena_bytes) {
  std::vector<uint8_t*> address(plan.tensors.size(), nullptr);
  const auto give_own_buffer = [&](TensorId id) {
    if (address[id] != nullptr || plan.tensors[id].is_constant()) return;
    own_buffers_.emplace_back(plan.tensors[id].size_bytes);
    address[id] = own_buffers_.back().data();
  };
  for (TensorId id : plan.inputs) give_own_buffer(id);
  for (TensorId id : plan.outputs) give_own_buffer(id);

  tensors_.resize(plan.tensors.size());
  strides_.resize(plan.tensors.size());
  for (TensorId id = 0; id < plan.tensors.size(); ++id) {
    const PlanTensor& tensor = plan.tensors[id];
    if (tensor.is_constant()) {
      // The plan's memory is aligned and belongs to the executor's owner; DLPack has no type for
      // data that is only read.
      address[id] = const_cast<uint8_t*>(plan.blobs[tensor.constant_blob].data);
    } else if (address[id] == nullptr && buffer_plan_.offset[id] != BufferPlan::kNotInArena) {
      address[id] = arena_.data() + buffer_plan_.offset[id];
    }
    strides_[id] = CompactStrides(tensor.shape);
    DLTensor& view = tensors_[id];
    view.data = address[id];
    view.device = {kDLCPU, 0};
    view.ndim = static_cast<int32_t>(tensor.shape.size());
    view.dtype = tensor.dtype;
    view.shape = const_cast<int64_t*>(tensor.shape.data());
    view.strides = strides_[id].data();
    view.byte_offset = 0;
  }

  for (const PlanRegion& region : plan.regions) {
    const auto factory = factories.find(region.kind);
    if (factory == factories.end()) {
      throw std::runtime_error("region " + region.name +
                               ": this library cannot run regions of kind '" + region.kind + "'");
    }
    try {
      regions_.push_back(factory->second(plan, region, &tensors_));
    } catch (const std::exception& error) {
      RethrowNaming(region, error);
    }
  }
}

void Executor::Run(const std::vector<const void*>& inputs, const std::vector<void*>& outputs) {
  if (outputs.size() != plan_.outputs.size()) {
    throw std::runtime_error("the plan has " + std::to_string(plan_.outputs.size()) +
                             " outputs, not " + std::to_string(outputs.size()));
  }
  CopyIn(inputs);
  for (size_t i = 0; i < regions_.size(); ++i) RunRegion(i);
  for (size_t i = 0; i < outputs.size(); ++i) {
    const TensorId id = plan_.outputs[i];
    const size_t bytes = plan_.tensors[id].size_bytes;
    if (bytes > 0) std::memcpy(outputs[i], tensors_[id].data, bytes);
  }
}

std::vector<double> Executor::TimeRuns(size_t count, const std::vector<const void*>& inputs) {
  CopyIn(inputs);
  std::vector<double> times_us(count);
  for (double& time_us : times_us) {
    const Clock::time_point start = Clock::now();
    for (size_t i = 0; i < regions_.size(); ++i) RunRegion(i);
    time_us = MicrosecondsSince(start);
  }
  return times_us;
}

std::vector<double> Executor::Profile(size_t count, const std::vector<const void*>& inputs) {
  CopyIn(inputs);
  std::vector<double> times_us(count * regions_.size());
  double* time_us = times_us.data();
  for (size_t run = 0; run < count; ++run) {
    for (size_t i = 0; i < regions_.size(); ++i) {
      const Clock::time_point start = Clock::now();
      RunRegion(i);
      *time_us++ = MicrosecondsSince(start);
    }
  }
  return times_us;
}

const DLTensor& Executor::ReadTensor(TensorId id) const {
  if (id >= tensors_.size()) {
    throw std::runtime_error("the plan has no tensor " + std::to_string(id));
  }
  if (!buffer_plan_.survives[id]) {
    throw std::runtime_error("tensor '" + plan_.tensors[id].name +
                             "' cannot be read: its memory is reused during a run");
  }
  return tensors_[id];
}

void Executor::CopyIn(const std::vector<const void*>& inputs) {
  if (inputs.size() != plan_.inputs.size()) {
    throw std::runtime_error("the plan has " + std::to_string(plan_.inputs.size()) +
                             " inputs, not " + std::to_string(inputs.size()));
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const TensorId id = plan_.inputs[i];
    const size_t bytes = plan_.tensors[id].size_bytes;
    if (bytes > 0) std::memcpy(tensors_[id].data, inputs[i], bytes);
  }
}

void Executor::RunRegion(size_t index) {
  try {
    regions_[index]->Run();
  } catch (const std::exception& error) {
    RethrowNaming(plan_.regions[index], error);
  }
}

}  // namespace tdse
