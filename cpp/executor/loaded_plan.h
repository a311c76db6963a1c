// A plan with all that was made for it: compiled regions and frames.
#ifndef TDSE_EXECUTOR_LOADED_PLAN_H_
#define TDSE_EXECUTOR_LOADED_PLAN_H_

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "frame.h"
#include "plan.h"
#include "region.h"
#include "trace.h"

namespace tdse {

// Region kind, as in the plan, to what makes a region of that kind.
using RegionFactories = std::map<std::string, RegionFactory>;

// Owned together by the executor and the threads of its lanes: a region that hangs may use all of
// this when the executor is long gone.
class LoadedPlan {
 public:
  // Compiles every region once for each of its lanes. Throws std::runtime_error, with the region's
  // name, if one cannot be made.
  LoadedPlan(std::shared_ptr<const Plan> plan, const RegionFactories& factories);
  LoadedPlan(const LoadedPlan&) = delete;
  LoadedPlan& operator=(const LoadedPlan&) = delete;

  const Plan& plan() const { return *plan_; }
  const FrameLayout& layout() const { return layout_; }
  Trace& trace() { return trace_; }

  // Lives as long as this. Throws std::runtime_error if there is not enough memory.
  Frame* NewFrame();

  // Runs the copy of a region that the frame says, all whose inputs were there at `ready`. Throws
  // nothing: the frame fails instead. Does nothing if it has failed already.
  void RunRegion(Frame* frame, uint32_t region, Clock::time_point ready);

 private:
  void RunOrFail(Frame* frame, uint32_t region, Clock::time_point ready);

  const std::shared_ptr<const Plan> plan_;
  const FrameLayout layout_;
  Trace trace_;
  std::vector<std::vector<std::unique_ptr<Region>>> regions_;  // [regions][copies]
  std::mutex frames_mutex_;
  std::vector<std::unique_ptr<Frame>> frames_;
};

}  // namespace tdse

#endif  // TDSE_EXECUTOR_LOADED_PLAN_H_
