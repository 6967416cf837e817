// Runs the kernels over the emulation for a Python test. Requests come on stdin, one after the other:
//   "<operator> <size of argument> ...\n", then the bytes of the arguments
// and are answered on stdout by "ok <size> ...\n" and the bytes of the results, or by "error <text>\n".
// The operators stand in the files run_*.cpp, one for each family of kernels.

#include "driver.h"

#include <iostream>
#include <map>
#include <sstream>
#include <string>

namespace {

std::map<std::string, Operator>& table() {
  static std::map<std::string, Operator> operators;
  return operators;
}

}  // namespace

Entry::Entry(const char* name, Operator run) { table()[name] = run; }

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream header(line);
    std::string name, reply;
    header >> name;
    Arrays in, out;
    for (size_t bytes; header >> bytes;) {
      in.emplace_back(bytes);
      std::cin.read(in.back().raw(), static_cast<std::streamsize>(bytes));
    }
    try {
      table().at(name)(in, out);
      reply = "ok";
      for (const Array& array : out) reply += " " + std::to_string(array.bytes());
    } catch (const std::exception& error) {
      out.clear();
      reply = std::string("error ") + error.what();
    }
    std::cout << reply << '\n';
    for (const Array& array : out) std::cout.write(array.raw(), static_cast<std::streamsize>(array.bytes()));
    std::cout.flush();
  }
}
