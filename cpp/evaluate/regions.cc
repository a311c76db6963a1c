#include "regions.h"

#include <algorithm>
#include <numeric>

namespace tdse::evaluate {

Regions::Regions(const Problem& problem)
    : problem_(problem),
      joins_(problem.n_links),
      region_of_(problem.n_ops),
      level_(problem.n_ops),
      first_(problem.n_ops + 1),
      parent_(problem.n_ops + 1),
      from_the_end_(problem.n_ops),
      circles_(problem.n_ops, problem.n_links),
      circle_of_(problem.n_ops),
      highest_level_(problem.n_ops),
      place_(problem.n_ops),
      place_begin_(problem.n_ops + 1) {}

void Regions::Form(const uint8_t* variants, const uint8_t* cuts) {
  const int32_t* const source = problem_.source.data();
  const int32_t* const target = problem_.target.data();
  const int32_t* const link_of = problem_.link_of.data();
  int32_t* const joins = joins_.data();
  for (int32_t i = 0; i < problem_.n_links; ++i) {
    joins[i] = variants[source[i]] == variants[target[i]];
  }
  for (int32_t i = 0; cuts && i < problem_.n_links; ++i) joins[i] &= !cuts[link_of[i]];
  Connect();
  if (AreAscending()) {
    const auto end = from_the_end_.begin() + n_regions_;
    std::iota(std::make_reverse_iterator(end), from_the_end_.rend(), 0);
    return;
  }
  ListCrossings();
  circles_.Find(from_the_end_.data());
  if (circles_.size() == n_regions_) return;
  CutCircles();
  Connect();
  OrderByLevels();
}

void Regions::Connect() {
  const int32_t* const begin = problem_.source_begin.data();
  const int32_t* const source = problem_.source.data();
  int32_t n_sets = 0;
  for (int32_t op = 0; op < problem_.n_ops; ++op) {
    // A new set if no link joins the operator to one.
    int32_t set = n_sets;
    first_[n_sets] = op;
    parent_[n_sets] = n_sets;
    for (int32_t i = begin[op]; i < begin[op + 1]; ++i) {
      if (!joins_[i]) continue;
      const int32_t other = Find(region_of_[source[i]]);
      parent_[std::max(set, other)] = std::min(set, other);
      set = std::min(set, other);
    }
    region_of_[op] = set;
    n_sets += set == n_sets;
  }
  // Parents are lower, and so have their numbers already.
  n_regions_ = 0;
  for (int32_t set = 0; set < n_sets; ++set) {
    const bool is_region = parent_[set] == set;
    parent_[set] = is_region ? n_regions_ : parent_[parent_[set]];
    first_[n_regions_] = first_[set];
    n_regions_ += is_region;
  }
  if (n_regions_ == n_sets) return;
  for (int32_t op = 0; op < problem_.n_ops; ++op) region_of_[op] = parent_[region_of_[op]];
}

int32_t Regions::Find(int32_t set) {
  while (parent_[set] != set) set = parent_[set] = parent_[parent_[set]];
  return set;
}

bool Regions::AreAscending() const {
  const int32_t* const source = problem_.source.data();
  const int32_t* const target = problem_.target.data();
  int32_t n_descending = 0;
  for (int32_t i = 0; i < problem_.n_links; ++i) {
    n_descending += region_of_[source[i]] > region_of_[target[i]];
  }
  return n_descending == 0;
}

void Regions::ListCrossings() {
  circles_.Clear(n_regions_);
  for (int32_t i = 0; i < problem_.n_links; ++i) {
    const int32_t from = region_of_[problem_.source[i]], to = region_of_[problem_.target[i]];
    circles_.AddEdge(from, to, from != to);
  }
}

void Regions::CutCircles() {
  const int32_t* const begin = problem_.source_begin.data();
  const int32_t* const source = problem_.source.data();
  // `place_` counts regions by circle.
  std::fill_n(place_.begin(), circles_.size(), 0);
  std::fill_n(highest_level_.begin(), circles_.size(), 0);
  for (int32_t region = 0; region < n_regions_; ++region) ++place_[circles_.of(region)];
  for (int32_t op = 0; op < problem_.n_ops; ++op) {
    const int32_t circle = circles_.of(region_of_[op]);
    circle_of_[op] = circle;
    int32_t level = 0;
    // A region that is in no circle with another stays whole.
    if (place_[circle] > 1) {
      for (int32_t i = begin[op]; i < begin[op + 1]; ++i) {
        if (circle_of_[source[i]] == circle) {
          level = std::max(level, level_[source[i]] + !joins_[i]);
        }
      }
      for (int32_t i = begin[op]; i < begin[op + 1]; ++i) {
        joins_[i] &= level_[source[i]] == level;
      }
      highest_level_[circle] = std::max(highest_level_[circle], level);
    }
    level_[op] = level;
  }
}

void Regions::OrderByLevels() {
  // Each level of each circle is a place; each has an operator, so there are enough.
  int32_t n_places = 0;
  for (int32_t circle = 0; circle < circles_.size(); ++circle) {
    n_places += highest_level_[circle] + 1;
    highest_level_[circle] = n_places - 1;
  }
  std::fill_n(place_begin_.begin(), n_places + 1, 0);
  for (int32_t region = 0; region < n_regions_; ++region) {
    const int32_t op = first_[region];
    place_[region] = highest_level_[circle_of_[op]] - level_[op];
    ++place_begin_[place_[region] + 1];
  }
  for (int32_t place = 0; place < n_places; ++place) place_begin_[place + 1] += place_begin_[place];
  for (int32_t region = 0; region < n_regions_; ++region) {
    from_the_end_[place_begin_[place_[region]]++] = region;
  }
}

}  // namespace tdse::evaluate
