#include "region_order.h"

#include <algorithm>
#include <map>
#include <set>

namespace tdse {

RegionOrder::RegionOrder(const Plan& plan)
    : successors_(plan.regions.size()), waits_for_(plan.regions.size(), 0) {
  std::map<std::vector<LaneId>, uint32_t> number_of;
  std::vector<std::vector<uint32_t>> chains;
  for (uint32_t r = 0; r < plan.regions.size(); ++r) {
    const auto next = static_cast<uint32_t>(chains.size());
    const uint32_t chain = number_of.emplace(plan.regions[r].lanes, next).first->second;
    if (chain == next) chains.emplace_back();
    chain_.push_back(chain);
    position_.push_back(static_cast<uint32_t>(chains[chain].size()));
    chains[chain].push_back(r);
  }
  chains_ = chains.size();
  preceding_.assign(plan.regions.size() * chains_, 0);

  constexpr uint32_t kNone = UINT32_MAX;
  std::vector<uint32_t> writer(plan.tensors.size(), kNone);
  for (uint32_t r = 0; r < plan.regions.size(); ++r) {
    const PlanRegion& region = plan.regions[r];
    std::set<uint32_t> before;
    for (const TensorId id : region.inputs) {
      if (writer[id] != kNone) before.insert(writer[id]);
    }
    if (position_[r] > 0) before.insert(chains[chain_[r]][position_[r] - 1]);
    for (const uint32_t p : before) {
      for (size_t c = 0; c < chains_; ++c) {
        uint32_t& preceding = preceding_[r * chains_ + c];
        preceding = std::max(preceding, preceding_[p * chains_ + c]);
      }
      uint32_t& own = preceding_[r * chains_ + chain_[p]];
      own = std::max(own, position_[p] + 1);
    }
    for (const uint32_t p : before) {
      // Waiting for a later one is enough.
      const auto is_later = [&](uint32_t q) { return Precedes(p, q); };
      if (std::any_of(before.begin(), before.end(), is_later)) continue;
      successors_[p].push_back(r);
      ++waits_for_[r];
    }
    for (const TensorId id : region.outputs) writer[id] = r;
  }
}

}  // namespace tdse
