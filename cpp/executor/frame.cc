#include "frame.h"

#include <cstring>
#include <stdexcept>

namespace tdse {
namespace {

std::vector<int64_t> CompactStrides(const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= shape[i];
  }
  return strides;
}

void RequireCount(size_t given, size_t expected, const char* what) {
  if (given == expected) return;
  throw std::runtime_error("the plan has " + std::to_string(expected) + " " + what + ", not " +
                           std::to_string(given));
}

}  // namespace

FrameLayout::FrameLayout(const Plan& plan) : buffers(PlanBuffers(plan)) {
  for (const PlanTensor& tensor : plan.tensors) strides.push_back(CompactStrides(tensor.shape));
}

Frame::Frame(const Plan& plan, const FrameLayout& layout)
    : regions(plan.regions.size()), plan_(plan), arena_(layout.buffers.arena_bytes) {
  for (size_t r = 0; r < regions.size(); ++r) {
    regions[r].bound.resize(plan.regions[r].lanes.size());
  }
  std::vector<uint8_t*> address(plan.tensors.size(), nullptr);
  const auto give_own_buffer = [&](TensorId id) {
    if (address[id] != nullptr || plan.tensors[id].is_constant()) return;
    own_buffers_.emplace_back(plan.tensors[id].size_bytes);
    address[id] = own_buffers_.back().data();
  };
  for (TensorId id : plan.inputs) give_own_buffer(id);
  for (TensorId id : plan.outputs) give_own_buffer(id);

  tensors_.resize(plan.tensors.size());
  for (TensorId id = 0; id < plan.tensors.size(); ++id) {
    const PlanTensor& tensor = plan.tensors[id];
    if (tensor.is_constant()) {
      // The plan's memory is aligned and belongs to the executor's owner; DLPack has no type for
      // data that is only read.
      address[id] = const_cast<uint8_t*>(plan.blobs[tensor.constant_blob].data);
    } else if (address[id] == nullptr && layout.buffers.offset[id] != BufferPlan::kNotInArena) {
      address[id] = arena_.data() + layout.buffers.offset[id];
    }
    DLTensor& view = tensors_[id];
    view.data = address[id];
    view.device = {kDLCPU, 0};
    view.ndim = static_cast<int32_t>(tensor.shape.size());
    view.dtype = tensor.dtype;
    view.shape = const_cast<int64_t*>(tensor.shape.data());
    view.strides = const_cast<int64_t*>(layout.strides[id].data());
    view.byte_offset = 0;
  }
}

void Frame::CopyIn(const std::vector<const void*>& inputs) {
  RequireCount(inputs.size(), plan_.inputs.size(), "inputs");
  for (size_t i = 0; i < inputs.size(); ++i) {
    const TensorId id = plan_.inputs[i];
    const size_t bytes = plan_.tensors[id].size_bytes;
    if (bytes > 0) std::memcpy(tensors_[id].data, inputs[i], bytes);
  }
}

void Frame::CopyOut(const std::vector<void*>& outputs) const {
  RequireCount(outputs.size(), plan_.outputs.size(), "outputs");
  ThrowIfFailed();
  for (size_t i = 0; i < outputs.size(); ++i) {
    const TensorId id = plan_.outputs[i];
    const size_t bytes = plan_.tensors[id].size_bytes;
    if (bytes > 0) std::memcpy(outputs[i], tensors_[id].data, bytes);
  }
}

void Frame::Begin(uint64_t item) {
  const std::lock_guard<std::mutex> lock(mutex_);
  item_ = item;
  error_.clear();
  has_failed_ = false;
  is_done_ = false;
}

void Frame::Fail(const std::string& error) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (is_done_ || has_failed_) return;
  error_ = error;
  has_failed_ = true;
}

void Frame::Finish() {
  // Notifies while it holds the mutex: who waits may end, and the frame with him, right after.
  const std::lock_guard<std::mutex> lock(mutex_);
  is_done_.store(true, std::memory_order_release);
  done_.notify_all();
}

void Frame::Abandon(uint64_t item, const std::string& error) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (is_done_ || item_ != item) return;
  if (!has_failed_) error_ = error;
  has_failed_ = true;
  is_abandoned_ = true;
  is_done_.store(true, std::memory_order_release);
  done_.notify_all();
}

bool Frame::SleepUntilDone(Clock::time_point limit) {
  std::unique_lock<std::mutex> lock(mutex_);
  return WaitUntil(&done_, &lock, limit,
                   [this] { return is_done_.load(std::memory_order_relaxed); });
}

void Frame::ThrowIfFailed() const {
  if (HasFailed()) throw std::runtime_error(error_);
}

}  // namespace tdse
