// Which operators are compiled and launched as one. The rule is in python/tdse/search/reference.py.
#ifndef TDSE_EVALUATE_REGIONS_H_
#define TDSE_EVALUATE_REGIONS_H_

#include <cstdint>
#include <vector>

#include "problem.h"

namespace tdse::evaluate {

// The regions of one placement after the other, in memory that is allocated once.
class Regions {
 public:
  explicit Regions(const Problem& problem);

  // `variants` of the operators; `cuts` of the links, null for none.
  void Form(const uint8_t* variants, const uint8_t* cuts);

  int32_t size() const { return n_regions_; }
  // The region of an operator; regions are numbered by their lowest operators.
  int32_t of(int32_t op) const { return region_of_[op]; }
  // All regions, each after those that it reads from.
  const int32_t* order() const { return order_.data(); }
  // The operators of a region, ascending.
  const int32_t* begin(int32_t region) const { return ops_.data() + begin_[region]; }
  const int32_t* end(int32_t region) const { return ops_.data() + begin_[region + 1]; }

 private:
  int32_t Find(int32_t op);
  void Join(int32_t one, int32_t other);
  // Numbers the sets of joined operators, and lists the operators of each.
  void Number();
  // Lists the links between regions in `from_` and `to_`.
  void ListCrossings();
  // Lists in `order_` the regions that no crossing leads to, once those before them are taken away;
  // returns how many.
  int32_t Peel(const std::vector<int32_t>& from, const std::vector<int32_t>& to);
  // Cuts the regions that cannot be ordered, nor ordered from the end, into levels.
  void Untangle(int32_t n_ordered);

  const Problem& problem_;
  int32_t n_regions_ = 0;
  int32_t n_crossings_ = 0;
  std::vector<int32_t> joins_;      // by link
  std::vector<int32_t> parent_;     // by operator: a lower one that it is joined with, or itself
  std::vector<int32_t> region_of_;  // by operator
  std::vector<int32_t> level_;      // by operator
  std::vector<int32_t> ops_;
  std::vector<int32_t> begin_;              // by region
  std::vector<int32_t> from_, to_;          // by crossing: its regions
  std::vector<int32_t> waiting_;            // by region: crossings that hold it up
  std::vector<int32_t> next_begin_, next_;  // by region: those that wait for it
  std::vector<int32_t> knotted_;            // by region
  std::vector<int32_t> order_;
};

}  // namespace tdse::evaluate

#endif  // TDSE_EVALUATE_REGIONS_H_
