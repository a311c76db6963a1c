// Plans for the tests and the fuzzer: as values, and as the bytes that Python would write.
#ifndef TDSE_TESTS_PLANS_H_
#define TDSE_TESTS_PLANS_H_

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "plan.h"

namespace tdse {

// The bytes of `plan` in the layout of python/tdse/runtime/plan.py. Nothing is checked, so that
// malformed plans can be written too.
std::vector<uint8_t> PlanBytes(const Plan& plan);

// An int8 vector of `elements` elements.
PlanTensor Vector(const std::string& name, int64_t elements);

// Inputs 0, outputs 4 and 1. Region "first" has a model; "second" has a constant, an intermediate
// and two steps.
Plan ExamplePlan();

// `count` regions of kind "fake" in a row, between tensors of `elements` elements.
Plan Chain(size_t count, int64_t elements);

// A valid plan of up to ten regions, with and without steps, in which no tensor is read before it
// is written; each on one or several of up to `max_lanes` lanes.
Plan RandomPlan(std::mt19937* random, size_t max_lanes = 1);

// For each two regions, whether the first always ends before the second starts: it computes
// something for it, or is before it on the same lanes, or before one that is before it.
std::vector<std::vector<bool>> RegionsBefore(const Plan& plan);

// As an executor takes it.
std::shared_ptr<const Plan> Shared(Plan plan);

}  // namespace tdse

#endif  // TDSE_TESTS_PLANS_H_
