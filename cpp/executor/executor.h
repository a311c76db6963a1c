// Runs a plan: calls, each of one item, and streams of items.
#ifndef TDSE_EXECUTOR_EXECUTOR_H_
#define TDSE_EXECUTOR_EXECUTOR_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "lanes.h"
#include "loaded_plan.h"
#include "plan.h"
#include "trace.h"

namespace tdse {

// The buffers, compiled regions and threads of a plan. A plan of one plain lane has no threads: its
// regions run on the caller's, one item after the other.
//
// Any thread may call any function. Inputs and outputs are passed as addresses of contiguous host
// memory, in the plan's order, of the sizes that the plan says; no alignment is needed. Any
// function throws std::runtime_error, with the region's name where a region fails.
class Executor {
 public:
  Executor(std::shared_ptr<const Plan> plan, const RegionFactories& factories);
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Copies the inputs in, runs all regions, copies the outputs out. Waits while as many calls as
  // the plan allows items are on their way.
  void Run(const std::vector<const void*>& inputs, const std::vector<void*>& outputs);

  // Microseconds of each of `count` runs of all regions, without any copy.
  std::vector<double> TimeRuns(size_t count, const std::vector<const void*>& inputs);

  // Microseconds of each region in each of `count` runs, run by run.
  std::vector<double> Profile(size_t count, const std::vector<const void*>& inputs);

  // Streams `count` items through a stream of their own. Microseconds from the first push until
  // the outputs of each item were copied out.
  std::vector<double> TimeStream(size_t count, const std::vector<const void*>& inputs);

  // The value of a tensor after the last item that ended. Throws if its memory has been reused.
  std::vector<uint8_t> ReadTensor(TensorId id);

  // From now on, until the trace is taken, each region that runs is noted.
  void StartTrace() { loaded_->trace().Start(); }
  std::vector<TraceEvent> TakeTrace() { return loaded_->trace().Take(); }

 private:
  friend class Stream;
  class Call;

  const Plan& plan() const { return loaded_->plan(); }

  // A frame that nobody uses; the last one that was given back, or a new one.
  Frame* TakeFrame();
  void GiveBack(Frame* frame);
  // Runs an item in a frame, at once where there are no lanes.
  void Start(Frame* frame);
  void Wait(Frame* frame);

  const std::shared_ptr<LoadedPlan> loaded_;
  std::unique_ptr<Lanes> lanes_;  // none: on the caller's thread, one at a time
  std::mutex running_;
  std::atomic<uint64_t> items_{0};

  std::mutex mutex_;
  std::condition_variable call_ended_;
  size_t calls_ = 0;
  size_t frames_ = 0;
  std::vector<Frame*> idle_frames_;
};

// Items that follow each other through an executor, results in the order of the inputs. For one
// thread at a time.
class Stream {
 public:
  // The executor must outlive it.
  explicit Stream(Executor* executor) : executor_(*executor) {}
  // Cancels what is in flight.
  ~Stream() { Cancel(); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Copies the inputs of an item in and starts it; or returns false if as many are in flight as
  // the plan allows, so that the oldest has to be popped first.
  bool TryPush(const std::vector<const void*>& inputs);

  // Whether there is an oldest item in flight, and Pop will not wait for it.
  bool IsOldestDone() const;

  // Waits for the oldest item and copies its outputs out. Throws what the item failed with, which
  // is then out of the stream as well; those after it go on.
  void Pop(const std::vector<void*>& outputs);

  // Skips what has not started of all items in flight, and waits for regions that run.
  void Cancel();

 private:
  Executor& executor_;
  std::deque<Frame*> in_flight_;
};

// Inputs, outputs, lanes and regions of a plan as JSON, and the size of its arena.
std::string DescribePlan(const Plan& plan);

}  // namespace tdse

#endif  // TDSE_EXECUTOR_EXECUTOR_H_
