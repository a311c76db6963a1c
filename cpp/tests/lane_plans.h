// Small plans of two lanes, whose regions do to one byte what a test says; and how tests wait.
#ifndef TDSE_TESTS_LANE_PLANS_H_
#define TDSE_TESTS_LANE_PLANS_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "executor.h"

namespace tdse {

// Whether `condition` became true before a time that is far more than anything here takes, also
// under a sanitizer on a busy machine. Sleeps in between, so that others can run.
bool Becomes(const std::function<bool()>& condition);

// Passes two threads once both are there.
class Meeting {
 public:
  // Whether the other one came.
  bool Meet();

 private:
  std::atomic<int> arrivals_{0};
};

// The letters for the states of this process's threads: R where one runs, S where one sleeps.
std::string ThreadStates();

std::vector<PlanLane> LanesNamed(const std::vector<std::string>& names);

// What regions do, by name, with the one byte that they read; what they return is written.
using Work = std::function<uint8_t(const std::string& region, uint8_t value)>;

RegionFactories Factories(const Work& work);

// Plans of one input and one output of a byte each.
uint8_t Run(Executor* executor, uint8_t value);
bool Push(Stream* stream, uint8_t value);
uint8_t Pop(Stream* stream);

// x into a and b, each on a lane of its own; both into y.
Plan Branches();

// Two regions in a row, each on a lane of its own.
Plan Pipeline();

// One region, of which each lane has a copy.
Plan Copies();

}  // namespace tdse

#endif  // TDSE_TESTS_LANE_PLANS_H_
