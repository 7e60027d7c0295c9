// SPDX-License-Identifier: GPL-2.0
/*
 * A character device whose files survive a live update, slowly or not at all on request.
 *
 * Every open file of /dev/lab_luo is a register of 64 bits: write(2) sets it, read(2) gets it, and
 * the live update orchestrator (LUO) carries it across kexec. Each step of that has a delay and
 * a failure among the module parameters, so that a profiler can be shown a file handler it has
 * never heard of, whose times and errors are known beforehand:
 *
 *   lab_luo.STEP_delay_us=N	busy-wait N microseconds in that step
 *   lab_luo.STEP_errno=N	make that step fail with -N (0: it succeeds)
 *
 * Both are writable in /sys/module/lab_luo/parameters.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/anon_inodes.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#define LAB_LUO_MAX_DELAY_US	(10 * 1000 * 1000U)

/* State of one open file. */
struct lab_luo_file {
	u64 value;
};

/* What crosses kexec, at the physical address LUO hands over. */
struct lab_luo_ser {
	u64 value;
} __packed;

/* Delay and failure of one callback. */
struct lab_luo_step {
	unsigned int delay_us;
	int error;
};

#define LAB_LUO_DELAY(_op)						\
	static struct lab_luo_step _op##_step;				\
	module_param_named(_op##_delay_us, _op##_step.delay_us, uint, 0644);	\
	MODULE_PARM_DESC(_op##_delay_us, "busy-wait in " #_op ", microseconds")

#define LAB_LUO_DELAY_AND_ERROR(_op)					\
	LAB_LUO_DELAY(_op);						\
	module_param_named(_op##_errno, _op##_step.error, int, 0644);	\
	MODULE_PARM_DESC(_op##_errno, "errno with which " #_op " fails, 0 for none")

LAB_LUO_DELAY_AND_ERROR(preserve);
LAB_LUO_DELAY(unpreserve);
LAB_LUO_DELAY_AND_ERROR(freeze);
LAB_LUO_DELAY(unfreeze);
LAB_LUO_DELAY_AND_ERROR(retrieve);
LAB_LUO_DELAY_AND_ERROR(can_finish);
LAB_LUO_DELAY(finish);

/* Does what the parameters ask of a step; returns 0 or the negative errno asked for. */
static int lab_luo_take(const struct lab_luo_step *step)
{
	unsigned int us = min(READ_ONCE(step->delay_us), LAB_LUO_MAX_DELAY_US);
	int error = READ_ONCE(step->error);

	for (; us >= USEC_PER_MSEC; us -= USEC_PER_MSEC)
		udelay(USEC_PER_MSEC);
	udelay(us);

	return error > 0 && error <= MAX_ERRNO ? -error : 0;
}

static int lab_luo_open(struct inode *inode, struct file *file)
{
	struct lab_luo_file *lf = kzalloc(sizeof(*lf), GFP_KERNEL);

	if (!lf)
		return -ENOMEM;

	file->private_data = lf;
	return stream_open(inode, file);
}

static int lab_luo_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static ssize_t lab_luo_read(struct file *file, char __user *buf, size_t len, loff_t *pos)
{
	struct lab_luo_file *lf = file->private_data;
	u64 value = READ_ONCE(lf->value);

	if (len != sizeof(value))
		return -EINVAL;
	if (copy_to_user(buf, &value, sizeof(value)))
		return -EFAULT;

	return sizeof(value);
}

static ssize_t lab_luo_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	struct lab_luo_file *lf = file->private_data;
	u64 value;

	if (len != sizeof(value))
		return -EINVAL;
	if (copy_from_user(&value, buf, sizeof(value)))
		return -EFAULT;

	WRITE_ONCE(lf->value, value);
	return sizeof(value);
}

static const struct file_operations lab_luo_fops = {
	.owner		= THIS_MODULE,
	.open		= lab_luo_open,
	.release	= lab_luo_release,
	.read		= lab_luo_read,
	.write		= lab_luo_write,
};

static bool lab_luo_can_preserve(struct liveupdate_file_handler *handler, struct file *file)
{
	return file->f_op == &lab_luo_fops;
}

static int lab_luo_preserve(struct liveupdate_file_op_args *args)
{
	struct lab_luo_ser *ser;
	int err;

	err = lab_luo_take(&preserve_step);
	if (err)
		return err;

	ser = kho_alloc_preserve(sizeof(*ser));
	if (IS_ERR(ser))
		return PTR_ERR(ser);

	args->serialized_data = virt_to_phys(ser);
	return 0;
}

static void lab_luo_unpreserve(struct liveupdate_file_op_args *args)
{
	lab_luo_take(&unpreserve_step);
	kho_unpreserve_free(phys_to_virt(args->serialized_data));
}

/* The value is final only now: writes are allowed up to here. */
static int lab_luo_freeze(struct liveupdate_file_op_args *args)
{
	struct lab_luo_ser *ser = phys_to_virt(args->serialized_data);
	struct lab_luo_file *lf = args->file->private_data;

	ser->value = READ_ONCE(lf->value);

	return lab_luo_take(&freeze_step);
}

static void lab_luo_unfreeze(struct liveupdate_file_op_args *args)
{
	lab_luo_take(&unfreeze_step);
}

/* LUO does not try a failed retrieve again, so the preserved memory is given back either way. */
static int lab_luo_retrieve(struct liveupdate_file_op_args *args)
{
	struct lab_luo_ser *ser = phys_to_virt(args->serialized_data);
	struct lab_luo_file *lf;
	struct file *file;
	int err;

	err = lab_luo_take(&retrieve_step);
	if (err)
		goto out;

	lf = kzalloc(sizeof(*lf), GFP_KERNEL);
	if (!lf) {
		err = -ENOMEM;
		goto out;
	}
	lf->value = ser->value;

	file = anon_inode_getfile("[lab_luo]", &lab_luo_fops, lf, O_RDWR);
	if (IS_ERR(file)) {
		err = PTR_ERR(file);
		kfree(lf);
		goto out;
	}
	args->file = file;
out:
	kho_restore_free(ser);
	return err;
}

static bool lab_luo_can_finish(struct liveupdate_file_op_args *args)
{
	return !lab_luo_take(&can_finish_step);
}

static void lab_luo_finish(struct liveupdate_file_op_args *args)
{
	lab_luo_take(&finish_step);

	/* Still ours if nobody asked for the file. */
	if (!args->retrieve_status)
		kho_restore_free(phys_to_virt(args->serialized_data));
}

static const struct liveupdate_file_ops lab_luo_file_ops = {
	.can_preserve	= lab_luo_can_preserve,
	.preserve	= lab_luo_preserve,
	.unpreserve	= lab_luo_unpreserve,
	.freeze		= lab_luo_freeze,
	.unfreeze	= lab_luo_unfreeze,
	.retrieve	= lab_luo_retrieve,
	.can_finish	= lab_luo_can_finish,
	.finish		= lab_luo_finish,
	.owner		= THIS_MODULE,
};

static struct liveupdate_file_handler lab_luo_handler = {
	.ops		= &lab_luo_file_ops,
	.compatible	= "lab-v1",
};

static struct miscdevice lab_luo_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "lab_luo",
	.fops	= &lab_luo_fops,
};

static int __init lab_luo_init(void)
{
	int err = liveupdate_register_file_handler(&lab_luo_handler);

	/* Live update is off on this kernel's command line: no device, no failure. */
	if (err == -EOPNOTSUPP)
		return 0;
	if (err) {
		pr_err("cannot register the file handler: %pe\n", ERR_PTR(err));
		return err;
	}

	err = misc_register(&lab_luo_device);
	if (err) {
		pr_err("cannot register the device: %pe\n", ERR_PTR(err));
		liveupdate_unregister_file_handler(&lab_luo_handler);
	}

	return err;
}
late_initcall(lab_luo_init);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Live update file handler with delays and failures on demand");
