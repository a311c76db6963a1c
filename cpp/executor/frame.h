// The memory of one item: a call, or an element of a stream.
#ifndef TDSE_EXECUTOR_FRAME_H_
#define TDSE_EXECUTOR_FRAME_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "buffers.h"
#include "plan.h"
#include "region.h"
#include "waiting.h"

namespace tdse {

// What all frames of a plan have in common.
struct FrameLayout {
  explicit FrameLayout(const Plan& plan);

  BufferPlan buffers;
  std::vector<std::vector<int64_t>> strides;  // of each tensor, in elements
};

// Buffers of their own for the tensors of one item, and how far the item is.
//
// Whoever has taken the frame begins an item in it and reads its results when it is done. Meanwhile
// any thread may make it fail, or finish it.
class Frame {
 public:
  // Plan and layout must outlive it. Throws std::runtime_error if there is not enough memory.
  Frame(const Plan& plan, const FrameLayout& layout);

  const TensorViews& tensors() const { return tensors_; }

  // Addresses of contiguous host memory, in the plan's order, of the sizes that the plan says.
  // CopyOut throws what the item failed with. Both throw if the number is wrong.
  void CopyIn(const std::vector<const void*>& inputs);
  void CopyOut(const std::vector<void*>& outputs) const;

  void Begin(uint64_t item);
  uint64_t item() const { return item_; }

  // The first error stays; what has not run yet of the item is skipped.
  void Fail(const std::string& error);
  bool HasFailed() const { return has_failed_.load(std::memory_order_relaxed); }

  // All regions have run, or were skipped.
  void Finish();
  // The item ends here with an error, but a region may write to the frame at any time from now on:
  // the frame must not be used again. Does nothing if the item is not this one, or is done.
  void Abandon(uint64_t item, const std::string& error);
  bool IsAbandoned() const { return is_abandoned_; }

  bool IsDone() const { return is_done_.load(std::memory_order_acquire); }
  // Sleeps until the item is done. Returns false if that is not before `limit`.
  bool SleepUntilDone(Clock::time_point limit);
  // Once it is done: throws std::runtime_error if the item failed.
  void ThrowIfFailed() const;

  // What whoever runs the regions keeps here, by region.
  struct PerRegion {
    std::atomic<uint32_t> waits_for{0};
    uint32_t copy = 0;
    // Of each copy, once it has run.
    std::vector<std::unique_ptr<BoundRegion>> bound;
  };
  std::vector<PerRegion> regions;
  std::atomic<size_t> regions_left{0};
  // Whether a region was bound to the frame since this was last asked; it runs for the first time
  // then.
  bool HasBound() { return has_bound_.exchange(false, std::memory_order_relaxed); }
  void SetHasBound() { has_bound_.store(true, std::memory_order_relaxed); }
  // Where the microseconds of each region are wanted; else null.
  double* region_us = nullptr;

 private:
  const Plan& plan_;
  AlignedBuffer arena_;
  std::vector<AlignedBuffer> own_buffers_;
  TensorViews tensors_;

  uint64_t item_ = 0;
  std::atomic<bool> has_failed_{false};
  std::atomic<bool> is_done_{true};
  std::atomic<bool> has_bound_{false};
  std::mutex mutex_;
  std::condition_variable done_;
  // Guarded by the mutex until the item is done.
  std::string error_;
  bool is_abandoned_ = false;
};

}  // namespace tdse

#endif  // TDSE_EXECUTOR_FRAME_H_
