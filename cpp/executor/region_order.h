// Which regions of one item run before which others, on whatever lanes they are.
#ifndef TDSE_EXECUTOR_REGION_ORDER_H_
#define TDSE_EXECUTOR_REGION_ORDER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "plan.h"

namespace tdse {

// The partial order of a plan's regions: a region runs after those whose results it reads, and
// after those before it in the plan that are on the same lanes. Nothing else is promised.
class RegionOrder {
 public:
  explicit RegionOrder(const Plan& plan);

  // Whether region `first` has always ended when region `second` starts.
  bool Precedes(size_t first, size_t second) const {
    return position_[first] < preceding_[second * chains_ + chain_[first]];
  }

  // Regions that may start once `region`, and what else they wait for, has ended.
  const std::vector<uint32_t>& successors(size_t region) const { return successors_[region]; }

  // Of how many regions a region is a successor.
  const std::vector<uint32_t>& waits_for() const { return waits_for_; }

 private:
  // Regions on the same lanes form a chain, in which each has a position. What precedes a region is
  // then a number for each chain: how many of its first regions do.
  size_t chains_ = 0;
  std::vector<uint32_t> chain_;
  std::vector<uint32_t> position_;
  std::vector<uint32_t> preceding_;  // [regions, chains]
  std::vector<std::vector<uint32_t>> successors_;
  std::vector<uint32_t> waits_for_;
};

}  // namespace tdse

#endif  // TDSE_EXECUTOR_REGION_ORDER_H_
