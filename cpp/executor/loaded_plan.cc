#include "loaded_plan.h"

#include <new>
#include <stdexcept>
#include <utility>

#include "pinning.h"

namespace tdse {
namespace {

std::string Named(const PlanRegion& region, const std::string& what) {
  return "region " + region.name + ": " + what;
}

// What went wrong; to be called where an exception is handled.
std::string CurrentError() {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return "there is not enough memory";
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "an unknown error";
  }
}

}  // namespace

LoadedPlan::LoadedPlan(std::shared_ptr<const Plan> plan, const RegionFactories& factories)
    : plan_(std::move(plan)), layout_(*plan_) {
  for (const PlanRegion& region : plan_->regions) {
    const auto factory = factories.find(region.kind);
    if (factory == factories.end()) {
      throw std::runtime_error(
          Named(region, "this library cannot run regions of kind '" + region.kind + "'"));
    }
    regions_.emplace_back();
    for (const LaneId lane : region.lanes) {
      // Also the threads that the region starts are to stay on the lane's CPUs.
      const PinnedHere pinned(plan_->lanes[lane]);
      try {
        regions_.back().push_back(factory->second(*plan_, region));
      } catch (...) {
        throw std::runtime_error(Named(region, CurrentError()));
      }
    }
  }
}

Frame* LoadedPlan::NewFrame() {
  auto frame = std::make_unique<Frame>(*plan_, layout_);
  const std::lock_guard<std::mutex> lock(frames_mutex_);
  frames_.push_back(std::move(frame));
  return frames_.back().get();
}

void LoadedPlan::RunRegion(Frame* frame, uint32_t region, Clock::time_point ready) {
  if (frame->HasFailed()) return;
  const bool is_traced = trace_.is_on();
  if (!is_traced && frame->region_us == nullptr) {
    RunOrFail(frame, region, ready);
    return;
  }
  const Clock::time_point start = Clock::now();
  RunOrFail(frame, region, ready);
  const Clock::time_point end = Clock::now();
  if (frame->region_us != nullptr) {
    frame->region_us[region] = std::chrono::duration<double, std::micro>(end - start).count();
  }
  if (is_traced) {
    const LaneId lane = plan_->regions[region].lanes[frame->regions[region].copy];
    trace_.Add(frame->item(), region, lane, start, end);
  }
}

void LoadedPlan::RunOrFail(Frame* frame, uint32_t region, Clock::time_point ready) {
  Frame::PerRegion& state = frame->regions[region];
  std::unique_ptr<BoundRegion>& bound = state.bound[state.copy];
  try {
    if (bound == nullptr) {
      bound = regions_[region][state.copy]->Bind(frame->tensors());
      frame->SetHasBound();
    }
    bound->RunSince(ready);
  } catch (...) {
    frame->Fail(Named(plan_->regions[region], CurrentError()));
  }
}

}  // namespace tdse
