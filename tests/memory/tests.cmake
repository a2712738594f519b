fkm_test(test_allocation SOURCES memory/test_allocation.c LINK fkm_test_data)
