// Work in a forked process.
#ifndef TDSE_TESTS_CHILD_H_
#define TDSE_TESTS_CHILD_H_

#include <functional>
#include <string>

namespace tdse {

// What `work` gives in a process forked from this one, or "ended with status ..." if that process
// crashed, or did not end within ten seconds.
std::string InChild(const std::function<std::string()>& work);

}  // namespace tdse

#endif  // TDSE_TESTS_CHILD_H_
