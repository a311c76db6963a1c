// Which operators are compiled and launched as one. The rule is in python/tdse/search/regions.py.
#ifndef TDSE_EVALUATE_REGIONS_H_
#define TDSE_EVALUATE_REGIONS_H_

#include <cstdint>
#include <vector>

#include "circles.h"
#include "problem.h"

namespace tdse::evaluate {

// The regions of one placement after the other, in memory that is allocated once.
class Regions {
 public:
  explicit Regions(const Problem& problem);

  // `variants` of the operators; `cuts` of the links, null for none.
  void Form(const uint8_t* variants, const uint8_t* cuts);

  int32_t size() const { return n_regions_; }
  // The region of an operator; regions are numbered by their lowest operators. The models' callers,
  // as operators from n_ops on, are regions from size() on.
  int32_t of(int32_t op) const { return region_of_[op]; }
  // The lowest operator of a region.
  int32_t first(int32_t region) const { return first_[region]; }
  // All regions, each before those that it reads from.
  const int32_t* from_the_end() const { return from_the_end_.data(); }

 private:
  // Fills `is_cut_` and `cut_links_`.
  void ListCuts(const uint8_t* variants, const uint8_t* cuts);
  // Makes regions of what links connect that `is_cut(link, source, target)` gives 0 for, not 1.
  template <typename IsCut>
  void Connect(IsCut is_cut);
  int32_t Find(int32_t set);
  // Lists the links between regions in `from_` and `to_`; false if one leads to a lower region.
  bool ListCrossings();
  // Finds the operators' levels within the regions' circles.
  void SetLevels();
  // Orders the regions by their circles' places and their levels.
  void OrderByLevels();

  const Problem& problem_;
  int32_t n_regions_ = 0;
  int32_t n_cuts_ = 0, n_crossings_ = 0;
  std::vector<int32_t> is_cut_;  // by link, and a 1
  std::vector<int32_t> cut_links_;
  std::vector<int32_t> joining_;    // links that join sets
  std::vector<int32_t> region_of_;  // by operator, and the callers'
  std::vector<int32_t> level_;      // by operator
  // By region; before regions have their numbers, by set of operators that are known to be joined.
  std::vector<int32_t> first_;
  std::vector<int32_t> parent_;  // a lower set that it is joined with, or itself
  std::vector<int32_t> from_the_end_;
  std::vector<int32_t> from_, to_;  // by crossing: its regions
  Circles circles_;
  // Twice the number of a circle, and 1 if it is of several regions.
  std::vector<int32_t> knot_of_region_, knot_of_;  // by region; by operator
  std::vector<int32_t> highest_level_;             // by circle
  std::vector<int32_t> place_, place_begin_;       // by region; by place
};

}  // namespace tdse::evaluate

#endif  // TDSE_EVALUATE_REGIONS_H_
