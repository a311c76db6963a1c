// Threads that run the regions of several items side by side.
#ifndef TDSE_EXECUTOR_LANES_H_
#define TDSE_EXECUTOR_LANES_H_

#include <chrono>
#include <cstdint>
#include <memory>

#include "loaded_plan.h"

namespace tdse {

// One thread for each lane of a plan. A lane takes the oldest item that it can do something for,
// and of one item the regions in the plan's order.
//
// A lane with a timeout is retired when a region takes longer: the region's item and those that
// wait for the lane fail, the thread is left to itself, and later items that need the lane fail.
// Any thread may call any function.
class Lanes {
 public:
  // Throws std::runtime_error if a thread cannot be started or pinned.
  explicit Lanes(std::shared_ptr<LoadedPlan> loaded);
  // Nothing may be in flight. Does not wait for lanes that were retired.
  ~Lanes();
  Lanes(const Lanes&) = delete;
  Lanes& operator=(const Lanes&) = delete;

  // Runs the regions of the frame's item, which has begun; it is done when all of them have ended.
  void Start(Frame* frame);

  // Waits until the item is done; spins for as long as a lane would, if there is a CPU to spare for
  // that, then sleeps. Looks after lanes that hang meanwhile.
  void Wait(Frame* frame);

 private:
  struct Lane;
  struct Shared;

  void Stop();

  const std::shared_ptr<Shared> shared_;
};

}  // namespace tdse

#endif  // TDSE_EXECUTOR_LANES_H_
