// Which nodes of a graph lie in a circle with each other: its strongly connected components.
#ifndef TDSE_EVALUATE_CIRCLES_H_
#define TDSE_EVALUATE_CIRCLES_H_

#include <cstdint>
#include <vector>

namespace tdse::evaluate {

// Tarjan, "Depth-first search and linear graph algorithms", SIAM J. Comput. 1 (1972); without
// recursion, and in memory that is allocated once. Of few nodes, which lead to which: Warshall, "A
// theorem on Boolean matrices", J. ACM 9 (1962), which takes more steps, but none that depends on
// what was found.
class Circles {
 public:
  Circles(int32_t most_nodes, int32_t most_edges);

  // Finds the circles of a graph with the edges between `from` and `to`; fills `order` with all
  // nodes, each circle after those to which it leads.
  void Find(int32_t n_nodes, int32_t n_edges, const int32_t* from, const int32_t* to,
            int32_t* order);

  // The number of circles; a node that lies in none counts as one.
  int32_t size() const { return n_circles_; }
  // The circle of a node; circles are numbered in the order in which they were found.
  int32_t of(int32_t node) const { return circle_of_[node]; }

 private:
  void FindAmongFew(int32_t n_edges, const int32_t* from, const int32_t* to, int32_t* order);
  void Search(int32_t root, int32_t* order);

  int32_t n_nodes_ = 0, n_circles_ = 0, n_seen_ = 0, n_ordered_ = 0, n_open_ = 0;
  const int32_t* edge_to_ = nullptr;  // by edge
  std::vector<int32_t> edge_next_;    // by edge: of the same node; -1 after the last
  // By node.
  std::vector<int32_t> next_;    // the edge that the search follows next
  std::vector<int32_t> seen_;    // when the search came there, from 1 on; 0 if it did not
  std::vector<int32_t> lowest_;  // the first seen node that is known to be in its circle
  std::vector<int32_t> circle_of_;
  std::vector<int32_t> path_, open_;  // stacks: the way to a node; nodes whose circle is not closed
};

}  // namespace tdse::evaluate

#endif  // TDSE_EVALUATE_CIRCLES_H_
