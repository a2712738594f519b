foreach(topic error memory threads threads_interrupt random dtype number json sha256 params)
    fkm_test(test_${topic} SOURCES unit/base/test_${topic}.c LINK fkm_base)
endforeach()
