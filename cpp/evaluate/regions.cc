#include "regions.h"

#include <algorithm>
#include <numeric>

namespace tdse::evaluate {

Regions::Regions(const Problem& problem)
    : problem_(problem),
      is_cut_(problem.n_links + 1, 1),
      cut_links_(problem.n_links + 1),
      joining_(problem.other_links.size() + 1),
      region_of_(problem.n_ops + problem.n_models),
      level_(problem.n_ops),
      first_(problem.n_ops + 1),
      parent_(problem.n_ops + 1),
      from_the_end_(problem.n_ops),
      from_(problem.n_links + 1),
      to_(problem.n_links + 1),
      circles_(problem.n_ops, problem.n_links),
      knot_of_region_(problem.n_ops),
      knot_of_(problem.n_ops),
      highest_level_(problem.n_ops),
      place_(problem.n_ops),
      place_begin_(problem.n_ops + 1) {}

void Regions::Form(const uint8_t* variants, const uint8_t* cuts) {
  const int32_t* const cut = is_cut_.data();
  ListCuts(variants, cuts);
  Connect([=](int32_t link, int32_t, int32_t) { return cut[link]; });
  if (ListCrossings()) {
    const auto end = from_the_end_.begin() + n_regions_;
    std::iota(std::make_reverse_iterator(end), from_the_end_.rend(), 0);
    return;
  }
  circles_.Find(n_regions_, n_crossings_, from_.data(), to_.data(), from_the_end_.data());
  if (circles_.size() == n_regions_) return;
  SetLevels();
  const int32_t* const level = level_.data();
  Connect([=](int32_t link, int32_t source, int32_t target) {
    return cut[link] | static_cast<int32_t>(level[source] != level[target]);
  });
  OrderByLevels();
}

void Regions::ListCuts(const uint8_t* variants, const uint8_t* cuts) {
  const int32_t* const source = problem_.link_source.data();
  const int32_t* const target = problem_.link_target.data();
  const int32_t n_links = problem_.n_links;
  int32_t* const is_cut = is_cut_.data();
  int32_t* const cut_links = cut_links_.data();
  int32_t count = 0;
  for (int32_t link = 0; link < n_links; ++link) {
    int32_t cut = variants[source[link]] != variants[target[link]];
    if (cuts) cut |= cuts[link] != 0;
    is_cut[link] = cut;
    cut_links[count] = link;
    count += cut;
  }
  n_cuts_ = count;
}

template <typename IsCut>
void Regions::Connect(IsCut is_cut) {
  const int32_t* const source = problem_.link_source.data();
  const int32_t* const target = problem_.link_target.data();
  const int32_t* const nearest_link = problem_.nearest_link.data();
  int32_t* const set_of = region_of_.data();
  int32_t* const parent = parent_.data();
  int32_t* const first = first_.data();
  const int32_t n_ops = problem_.n_ops;
  int32_t n_sets = 0;
  // An operator's nearest link takes it into a set, or it begins a new one; without branches, since
  // nothing foretells which.
  for (int32_t op = 0; op < n_ops; ++op) {
    const int32_t link = nearest_link[op], before = source[link];
    const int32_t is_new = is_cut(link, before, op);
    first[n_sets] = op;
    set_of[op] = set_of[before] + ((n_sets - set_of[before]) & -is_new);
    n_sets += is_new;
  }
  std::iota(parent, parent + n_sets, 0);
  // Its other links join sets. Most are cut or lead to the same set.
  int32_t n_joining = 0;
  for (const int32_t link : problem_.other_links) {
    const int32_t from = source[link], to = target[link];
    joining_[n_joining] = link;
    n_joining += (is_cut(link, from, to) == 0) & (set_of[from] != set_of[to]);
  }
  int32_t n_regions = n_sets;
  for (int32_t i = 0; i < n_joining; ++i) {
    const int32_t link = joining_[i];
    const int32_t one = Find(set_of[source[link]]), other = Find(set_of[target[link]]);
    parent[std::max(one, other)] = std::min(one, other);
    n_regions -= one != other;
  }
  n_regions_ = n_regions;
  std::iota(set_of + n_ops, set_of + n_ops + problem_.n_models, n_regions);
  if (n_regions_ == n_sets) return;
  // Parents are lower, and so have their numbers already.
  int32_t n_numbered = 0;
  for (int32_t set = 0; set < n_sets; ++set) {
    const bool is_region = parent[set] == set;
    const int32_t number = parent[parent[set]];
    parent[set] = is_region ? n_numbered : number;
    first[n_numbered] = first[set];
    n_numbered += is_region;
  }
  for (int32_t op = 0; op < n_ops; ++op) set_of[op] = parent[set_of[op]];
}

int32_t Regions::Find(int32_t set) {
  // Most sets are no deeper, and so many steps need no branch.
  set = parent_[parent_[set]];
  while (parent_[set] != set) set = parent_[set] = parent_[parent_[set]];
  return set;
}

bool Regions::ListCrossings() {
  const int32_t* const source = problem_.link_source.data();
  const int32_t* const target = problem_.link_target.data();
  const int32_t* const region_of = region_of_.data();
  int32_t count = 0, n_descending = 0;
  for (int32_t i = 0; i < n_cuts_; ++i) {
    const int32_t link = cut_links_[i];
    const int32_t from = region_of[source[link]], to = region_of[target[link]];
    from_[count] = from;
    to_[count] = to;
    count += from != to;
    n_descending += from > to;
  }
  n_crossings_ = count;
  return n_descending == 0;
}

void Regions::SetLevels() {
  const int32_t* const source = problem_.link_source.data();
  const int32_t* const target = problem_.link_target.data();
  const int32_t* const is_cut = is_cut_.data();
  int32_t* const knot = knot_of_.data();
  int32_t* const level = level_.data();
  const int32_t n_ops = problem_.n_ops, n_links = problem_.n_links;
  // A region that is in no circle with another stays whole; `place_` counts regions by circle.
  std::fill_n(place_.begin(), circles_.size(), 0);
  for (int32_t region = 0; region < n_regions_; ++region) ++place_[circles_.of(region)];
  for (int32_t region = 0; region < n_regions_; ++region) {
    const int32_t circle = circles_.of(region);
    knot_of_region_[region] = 2 * circle + (place_[circle] > 1);
  }
  for (int32_t op = 0; op < n_ops; ++op) knot[op] = knot_of_region_[region_of_[op]];
  std::fill_n(level, n_ops, 0);
  // Links are in the order of their sources, so a level is known before it is passed on.
  for (int32_t link = 0; link < n_links; ++link) {
    const int32_t from = source[link], to = target[link];
    const int32_t is_within = static_cast<int32_t>(knot[from] == knot[to]) & knot[from];
    level[to] = std::max(level[to], (level[from] + is_cut[link]) & -is_within);
  }
}

void Regions::OrderByLevels() {
  // Each level of each circle is a place; each has an operator, so there are enough.
  int32_t n_places = 0;
  std::fill_n(highest_level_.begin(), circles_.size(), 0);
  for (int32_t region = 0; region < n_regions_; ++region) {
    const int32_t op = first_[region];
    int32_t& highest = highest_level_[knot_of_[op] / 2];
    highest = std::max(highest, level_[op]);
  }
  for (int32_t circle = 0; circle < circles_.size(); ++circle) {
    n_places += highest_level_[circle] + 1;
    highest_level_[circle] = n_places - 1;
  }
  std::fill_n(place_begin_.begin(), n_places + 1, 0);
  for (int32_t region = 0; region < n_regions_; ++region) {
    const int32_t op = first_[region];
    place_[region] = highest_level_[knot_of_[op] / 2] - level_[op];
    ++place_begin_[place_[region] + 1];
  }
  for (int32_t place = 0; place < n_places; ++place) place_begin_[place + 1] += place_begin_[place];
  for (int32_t region = 0; region < n_regions_; ++region) {
    from_the_end_[place_begin_[place_[region]]++] = region;
  }
}

}  // namespace tdse::evaluate
