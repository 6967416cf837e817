// The Python module spectral_graph._C. Importing it registers the kernels of csrc/cpu; it has no other content.

#include <Python.h>

extern "C" PyObject* PyInit__C(void) {
  static PyModuleDef definition = {
      PyModuleDef_HEAD_INIT, "_C", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};
  return PyModule_Create(&definition);
}
