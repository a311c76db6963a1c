// Runs a fuzz target without libFuzzer: on random changes of a valid plan, the same in every run.
//
//   tdse_fuzz_plan_driver [--count N] [--seed N]   tries N inputs
//   tdse_fuzz_plan_driver --corpus DIRECTORY       writes valid plans there, for libFuzzer
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "plans.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Bytes = std::vector<uint8_t>;

// Numbers at which parsers go wrong.
constexpr uint32_t kBoundaries[] = {0,       1,          2,          63,         64,        65,
                                    0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFC0, 0xFFFFFFFF};

void Change(Bytes* bytes, std::mt19937* random) {
  const auto below = [random](size_t limit) { return (*random)() % limit; };
  const size_t size = bytes->size();
  if (size < sizeof(uint32_t)) return;
  const size_t position = below(size - 3);
  switch (below(6)) {
    case 0:
      (*bytes)[position] = static_cast<uint8_t>(below(256));
      break;
    case 1:
      (*bytes)[position] ^= static_cast<uint8_t>(1u << below(8));
      break;
    case 2: {
      const uint32_t number = kBoundaries[below(std::size(kBoundaries))];
      std::memcpy(bytes->data() + position, &number, sizeof(number));
      break;
    }
    case 3: {
      const auto number = static_cast<uint32_t>(below(12));
      std::memcpy(bytes->data() + position, &number, sizeof(number));
      break;
    }
    case 4:
      bytes->resize(position);
      break;
    default: {
      const Bytes part(
          bytes->begin() + static_cast<Bytes::difference_type>(position),
          bytes->begin() + static_cast<Bytes::difference_type>(position + below(size - position)));
      const auto place = static_cast<Bytes::difference_type>(below(size));
      bytes->insert(bytes->begin() + place, part.begin(), part.end());
    }
  }
}

}  // namespace

namespace {

// The first is always the same; it has all that a plan may have.
Bytes ValidPlan(unsigned long index, std::mt19937* random) {
  return tdse::PlanBytes(index == 0 ? tdse::ExamplePlan() : tdse::RandomPlan(random));
}

int TryPlans(unsigned long count, unsigned long seed) {
  std::mt19937 random(static_cast<uint32_t>(seed));
  for (unsigned long i = 0; i < count; ++i) {
    Bytes bytes = ValidPlan(i % 2, &random);
    for (size_t changes = random() % 5; changes > 0; --changes) Change(&bytes, &random);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  std::printf("%lu plans tried, seed %lu\n", count, seed);
  return 0;
}

int WriteCorpus(const std::string& directory) {
  constexpr unsigned long kCount = 50;
  std::mt19937 random(1);
  for (unsigned long i = 0; i < kCount; ++i) {
    const Bytes bytes = ValidPlan(i, &random);
    const std::string path = directory + "/" + std::to_string(i);
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    if (!file.flush()) {
      std::fprintf(stderr, "%s cannot be written\n", path.c_str());
      return 1;
    }
  }
  return 0;
}

}  // namespace

int main(int count_of_arguments, char** arguments) {
  unsigned long count = 100000;
  unsigned long seed = 1;
  for (int i = 1; i < count_of_arguments; i += 2) {
    const std::string option = arguments[i];
    if (i + 1 < count_of_arguments && option == "--corpus") return WriteCorpus(arguments[i + 1]);
    if (i + 1 == count_of_arguments || (option != "--count" && option != "--seed")) {
      std::fprintf(stderr, "usage: %s [--count N] [--seed N] | --corpus DIRECTORY\n", arguments[0]);
      return 2;
    }
    (option == "--count" ? count : seed) = std::strtoul(arguments[i + 1], nullptr, 10);
  }
  return TryPlans(count, seed);
}
