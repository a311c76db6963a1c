#include "circles.h"

#include <algorithm>
#include <limits>

namespace tdse::evaluate {
namespace {

// Of a node whose circle is closed: it is no longer a way back.
constexpr int32_t kClosed = std::numeric_limits<int32_t>::max();
// So many nodes have a bit each in a word.
constexpr int32_t kFew = 32;

int32_t Count(uint32_t set) { return __builtin_popcount(set); }

}  // namespace

Circles::Circles(int32_t most_nodes, int32_t most_edges)
    : edge_next_(most_edges),
      next_(most_nodes),
      seen_(most_nodes),
      lowest_(most_nodes),
      circle_of_(most_nodes),
      path_(most_nodes),
      open_(most_nodes) {}

void Circles::Find(int32_t n_nodes, int32_t n_edges, const int32_t* from, const int32_t* to,
                   int32_t* order) {
  n_nodes_ = n_nodes;
  if (n_nodes <= kFew) return FindAmongFew(n_edges, from, to, order);
  edge_to_ = to;
  std::fill_n(next_.begin(), n_nodes, -1);
  for (int32_t edge = 0; edge < n_edges; ++edge) {
    edge_next_[edge] = next_[from[edge]];
    next_[from[edge]] = edge;
  }
  std::fill_n(seen_.begin(), n_nodes_, 0);
  n_circles_ = n_seen_ = n_ordered_ = n_open_ = 0;
  for (int32_t node = 0; node < n_nodes_; ++node) {
    if (!seen_[node]) Search(node, order);
  }
}

// Without branches but for the loops' ends. Nodes above the last change nothing.
void Circles::FindAmongFew(int32_t n_edges, const int32_t* from, const int32_t* to,
                           int32_t* order) {
  uint32_t after[kFew];       // to which nodes it leads, and itself
  int32_t lowest[kFew] = {};  // of its circle, all of which lead to the same nodes
  int32_t begin[kFew + 2] = {};
  for (int32_t node = 0; node < kFew; ++node) after[node] = 1u << node;
  for (int32_t edge = 0; edge < n_edges; ++edge) after[from[edge]] |= 1u << to[edge];
  for (int32_t through = 0; through < n_nodes_; ++through) {
    const uint32_t beyond = after[through];
    for (int32_t node = 0; node < kFew; ++node) {
      after[node] |= beyond & -(after[node] >> through & 1);
    }
  }
  for (int32_t other = n_nodes_ - 1; other >= 0; --other) {
    const uint32_t beyond = after[other];
    for (int32_t node = 0; node < kFew; ++node) {
      lowest[node] = after[node] == beyond ? other : lowest[node];
    }
  }
  // A circle leads to fewer nodes than those that lead to it.
  for (int32_t node = 0; node < n_nodes_; ++node) ++begin[Count(after[node]) + 1];
  for (int32_t count = 0; count < n_nodes_; ++count) begin[count + 1] += begin[count];
  for (int32_t node = 0; node < n_nodes_; ++node) order[begin[Count(after[node])]++] = node;
  n_circles_ = 0;
  for (int32_t i = 0; i < n_nodes_; ++i) {
    const int32_t node = order[i];
    circle_of_[lowest[node]] = lowest[node] == node ? n_circles_ : circle_of_[lowest[node]];
    circle_of_[node] = circle_of_[lowest[node]];
    n_circles_ += lowest[node] == node;
  }
}

void Circles::Search(int32_t root, int32_t* order) {
  int32_t length = 0, node = root;
  seen_[node] = lowest_[node] = ++n_seen_;
  open_[n_open_++] = node;
  while (true) {
    if (next_[node] >= 0) {
      const int32_t to = edge_to_[next_[node]];
      next_[node] = edge_next_[next_[node]];
      if (seen_[to]) {
        lowest_[node] = std::min(lowest_[node], seen_[to]);
      } else {
        path_[length++] = node;
        node = to;
        seen_[node] = lowest_[node] = ++n_seen_;
        open_[n_open_++] = node;
      }
      continue;
    }
    if (lowest_[node] == seen_[node]) {
      int32_t member;
      do {
        member = open_[--n_open_];
        seen_[member] = kClosed;
        circle_of_[member] = n_circles_;
        order[n_ordered_++] = member;
      } while (member != node);
      ++n_circles_;
    }
    if (length == 0) return;
    const int32_t below = path_[--length];
    lowest_[below] = std::min(lowest_[below], lowest_[node]);
    node = below;
  }
}

}  // namespace tdse::evaluate
