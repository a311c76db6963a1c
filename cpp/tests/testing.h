// The little that the core's tests need of a test framework.
//
//   TEST(NameOfTheTest) { CHECK(...); CHECK_EQUAL(got, expected); CHECK_THROWS("text", call()); }
//
// A check that fails ends its test; Skip("why") ends it without a failure. The program runs every
// test, or those whose names contain its argument.
#ifndef TDSE_TESTS_TESTING_H_
#define TDSE_TESTS_TESTING_H_

#include <sstream>
#include <stdexcept>
#include <string>

namespace tdse::testing {

// What a test throws to end. Not a std::exception, so that the code under test does not catch it.
struct Failure {
  std::string message;
};

struct Skipped {
  std::string reason;
};

// Makes the test known to main(). The result means nothing: it lets TEST call this at start-up.
bool Register(const char* name, void (*run)());

[[noreturn]] inline void Fail(const char* file, int line, const std::string& message) {
  throw Failure{std::string(file) + ":" + std::to_string(line) + ": " + message};
}

[[noreturn]] inline void Skip(const std::string& reason) { throw Skipped{reason}; }

template <typename Got, typename Expected>
void CheckEqual(const char* file, int line, const Got& got, const Expected& expected) {
  if (got == expected) return;
  std::ostringstream message;
  message << "got " << got << ", expected " << expected;
  Fail(file, line, message.str());
}

// Requires a std::runtime_error whose message contains `text`.
template <typename Function>
void CheckThrows(const char* file, int line, const std::string& text, const Function& function) {
  try {
    function();
  } catch (const std::runtime_error& error) {
    const std::string message = error.what();
    if (message.find(text) != std::string::npos) return;
    Fail(file, line, "the error is '" + message + "', without '" + text + "'");
  }
  Fail(file, line, "no error with '" + text + "'");
}

}  // namespace tdse::testing

#define TEST(name)                                                                         \
  static void name();                                                                      \
  [[maybe_unused]] static const bool name##_known = tdse::testing::Register(#name, &name); \
  static void name()

#define CHECK(condition) \
  if (!(condition)) tdse::testing::Fail(__FILE__, __LINE__, "not true: " #condition)

#define CHECK_EQUAL(got, expected) tdse::testing::CheckEqual(__FILE__, __LINE__, got, expected)

#define CHECK_THROWS(text, call) \
  tdse::testing::CheckThrows(__FILE__, __LINE__, text, [&] { static_cast<void>(call); })

#endif  // TDSE_TESTS_TESTING_H_
