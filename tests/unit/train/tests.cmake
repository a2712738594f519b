fkm_test(test_loss SOURCES unit/train/test_loss.c LINK fkm_train)
fkm_test(test_gradient SOURCES unit/train/test_gradient.c unit/train/world.c LINK fkm_train)
fkm_test(test_step SOURCES unit/train/test_step.c unit/train/world.c LINK fkm_train)
fkm_test(test_epochs SOURCES unit/train/test_epochs.c unit/train/world.c LINK fkm_train)
