// When each region of each item ran on which lane.
#ifndef TDSE_EXECUTOR_TRACE_H_
#define TDSE_EXECUTOR_TRACE_H_

#include <atomic>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "frame.h"

namespace tdse {

struct TraceEvent {
  uint64_t item;
  uint32_t region;
  LaneId lane;
  double start_us;  // since the trace was started
  double end_us;
};

// Any thread may call any function.
class Trace {
 public:
  void Start() {
    const std::lock_guard<std::mutex> lock(mutex_);
    events_.clear();
    start_ = Clock::now();
    is_on_ = true;
  }

  bool is_on() const { return is_on_.load(std::memory_order_relaxed); }

  void Add(uint64_t item, uint32_t region, LaneId lane, Clock::time_point start,
           Clock::time_point end) {
    const std::lock_guard<std::mutex> lock(mutex_);
    // A region that was running when the trace was started is not in it.
    if (!is_on_ || start < start_) return;
    events_.push_back({item, region, lane, Microseconds(start), Microseconds(end)});
  }

  // Ends the trace; events are in the order in which the regions ended.
  std::vector<TraceEvent> Take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    is_on_ = false;
    return std::exchange(events_, {});
  }

 private:
  double Microseconds(Clock::time_point time) const {
    return std::chrono::duration<double, std::micro>(time - start_).count();
  }

  std::mutex mutex_;
  std::atomic<bool> is_on_{false};
  Clock::time_point start_;
  std::vector<TraceEvent> events_;
};

}  // namespace tdse

#endif  // TDSE_EXECUTOR_TRACE_H_
