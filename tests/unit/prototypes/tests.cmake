foreach(topic state classes route round)
    fkm_test(test_${topic} SOURCES unit/prototypes/test_${topic}.c LINK fkm_prototypes)
endforeach()
foreach(topic seed seed_steps lists lloyd cluster ema soft maintain importance)
    fkm_test(test_${topic} SOURCES unit/prototypes/test_${topic}.c unit/prototypes/field.c support/naive.c
        LINK fkm_prototypes)
endforeach()
