#include "executor.h"

#include <malloc.h>

#include <stdexcept>
#include <utility>

namespace tdse {
namespace {

// Gives memory that is free back to the system. What LiteRT needs for a while when a region first
// runs would stay the process's: 1.5 MiB of 5.3 for MobileNetV1 0.5 in twenty regions.
void ReturnFreeMemory() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

double MicrosecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

}  // namespace

// A caller who has a frame; others wait while there are too many of them.
class Executor::Call {
 public:
  explicit Call(Executor* executor) : executor_(*executor) {
    std::unique_lock<std::mutex> lock(executor_.mutex_);
    const size_t limit = executor_.plan().MaxItems();
    executor_.call_ended_.wait(lock, [&] { return executor_.calls_ < limit; });
    ++executor_.calls_;
    lock.unlock();
    try {
      frame_ = executor_.TakeFrame();
    } catch (...) {
      End();
      throw;
    }
  }
  ~Call() {
    executor_.GiveBack(frame_);
    End();
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  Frame* frame() const { return frame_; }

  // Runs all regions. Throws what the item failed with.
  void Run() {
    executor_.Start(frame_);
    executor_.Wait(frame_);
    frame_->ThrowIfFailed();
  }

 private:
  void End() {
    {
      const std::lock_guard<std::mutex> lock(executor_.mutex_);
      --executor_.calls_;
    }
    executor_.call_ended_.notify_one();
  }

  Executor& executor_;
  Frame* frame_ = nullptr;
};

Executor::Executor(std::shared_ptr<const Plan> plan, const RegionFactories& factories)
    : loaded_(std::make_shared<LoadedPlan>(std::move(plan), factories)) {
  GiveBack(TakeFrame());
  if (!this->plan().RunsOnCaller()) lanes_ = std::make_unique<Lanes>(loaded_);
}

void Executor::Run(const std::vector<const void*>& inputs, const std::vector<void*>& outputs) {
  Call call(this);
  call.frame()->CopyIn(inputs);
  call.Run();
  call.frame()->CopyOut(outputs);
}

std::vector<double> Executor::TimeRuns(size_t count, const std::vector<const void*>& inputs) {
  Call call(this);
  call.frame()->CopyIn(inputs);
  std::vector<double> times_us(count);
  for (double& time_us : times_us) {
    const Clock::time_point start = Clock::now();
    call.Run();
    time_us = MicrosecondsSince(start);
  }
  return times_us;
}

std::vector<double> Executor::Profile(size_t count, const std::vector<const void*>& inputs) {
  Call call(this);
  call.frame()->CopyIn(inputs);
  const size_t regions = plan().regions.size();
  std::vector<double> times_us(count * regions);
  for (size_t run = 0; run < count; ++run) {
    call.frame()->region_us = times_us.data() + run * regions;
    call.Run();
  }
  return times_us;
}

std::vector<double> Executor::TimeStream(size_t count, const std::vector<const void*>& inputs) {
  std::vector<std::vector<uint8_t>> values;
  std::vector<void*> outputs;
  for (const TensorId id : plan().outputs) values.emplace_back(plan().tensors[id].size_bytes);
  for (std::vector<uint8_t>& value : values) outputs.push_back(value.data());
  std::vector<double> times_us;
  Stream stream(this);
  const Clock::time_point start = Clock::now();
  for (size_t pushed = 0; times_us.size() < count;) {
    if (pushed < count && stream.TryPush(inputs)) {
      ++pushed;
      continue;
    }
    stream.Pop(outputs);
    times_us.push_back(MicrosecondsSince(start));
  }
  return times_us;
}

std::vector<uint8_t> Executor::ReadTensor(TensorId id) {
  if (id >= plan().tensors.size()) {
    throw std::runtime_error("the plan has no tensor " + std::to_string(id));
  }
  const PlanTensor& tensor = plan().tensors[id];
  if (!loaded_->layout().buffers.survives[id]) {
    throw std::runtime_error("tensor '" + tensor.name +
                             "' cannot be read: its memory is reused during a run");
  }
  const Call call(this);
  const auto* data = static_cast<const uint8_t*>(call.frame()->tensors()[id].data);
  return {data, data + tensor.size_bytes};
}

Frame* Executor::TakeFrame() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!idle_frames_.empty()) {
      Frame* frame = idle_frames_.back();
      idle_frames_.pop_back();
      return frame;
    }
  }
  Frame* frame = loaded_->NewFrame();
  const std::lock_guard<std::mutex> lock(mutex_);
  // Giving it back allocates nothing.
  idle_frames_.reserve(++frames_);
  return frame;
}

void Executor::GiveBack(Frame* frame) {
  if (frame->IsAbandoned()) return;
  frame->region_us = nullptr;
  if (frame->HasBound()) ReturnFreeMemory();
  const std::lock_guard<std::mutex> lock(mutex_);
  idle_frames_.push_back(frame);
}

void Executor::Start(Frame* frame) {
  frame->Begin(items_.fetch_add(1, std::memory_order_relaxed));
  if (lanes_ != nullptr) {
    lanes_->Start(frame);
    return;
  }
  const std::lock_guard<std::mutex> lock(running_);
  const Clock::time_point ready = Clock::now();
  for (uint32_t r = 0; r < plan().regions.size(); ++r) loaded_->RunRegion(frame, r, ready);
  frame->Finish();
}

void Executor::Wait(Frame* frame) {
  if (lanes_ != nullptr) lanes_->Wait(frame);
}

bool Stream::TryPush(const std::vector<const void*>& inputs) {
  if (in_flight_.size() >= executor_.plan().MaxItems()) return false;
  Frame* frame = executor_.TakeFrame();
  try {
    frame->CopyIn(inputs);
    in_flight_.push_back(frame);
  } catch (...) {
    executor_.GiveBack(frame);
    throw;
  }
  executor_.Start(frame);
  return true;
}

bool Stream::IsOldestDone() const { return !in_flight_.empty() && in_flight_.front()->IsDone(); }

void Stream::Pop(const std::vector<void*>& outputs) {
  if (in_flight_.empty()) throw std::runtime_error("nothing is in the stream");
  Frame* frame = in_flight_.front();
  executor_.Wait(frame);
  in_flight_.pop_front();
  try {
    frame->CopyOut(outputs);
  } catch (...) {
    executor_.GiveBack(frame);
    throw;
  }
  executor_.GiveBack(frame);
}

void Stream::Cancel() {
  for (Frame* frame : in_flight_) frame->Fail("the stream was cancelled");
  for (Frame* frame : in_flight_) {
    executor_.Wait(frame);
    executor_.GiveBack(frame);
  }
  in_flight_.clear();
}

}  // namespace tdse
